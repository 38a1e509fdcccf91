import { expect } from 'vitest';
import type { NetQueueRigOptions } from '../../virtio/support/net-queue-rig.ts';

/** Where num_buffers is in a header. */
const HEADER_BUFFERS = 10;

/** Frames of what a driver got back, as it puts merged ones together. */
export class Merger {
  readonly frames: Uint8Array[] = [];
  #left = 0;
  #parts: Uint8Array[] = [];
  readonly #header: number;
  readonly #mergeable: boolean;

  constructor({
    headerBytes = 12,
    mergeable = false,
  }: Pick<NetQueueRigOptions, 'headerBytes' | 'mergeable' | 'layout'>) {
    this.#header = headerBytes;
    this.#mergeable = mergeable;
  }

  take(bytes: Uint8Array): void {
    if (this.#left === 0) {
      this.#left = this.#mergeable ? (bytes[HEADER_BUFFERS] as number) : 1;
      this.#parts = [bytes.slice(this.#header)];
    } else {
      this.#parts.push(bytes.slice());
    }
    if (--this.#left === 0) this.frames.push(Uint8Array.from(this.#parts.flatMap((part) => [...part])));
  }
}

/** Fails at the first frame that is another. */
export function sameFrames(a: readonly Uint8Array[], b: readonly Uint8Array[]): void {
  expect(a.map(({ length }) => length)).toEqual(b.map(({ length }) => length));
  for (const [i, frame] of a.entries())
    if (Buffer.compare(frame, b[i] as Uint8Array) !== 0) expect(frame).toEqual(b[i]);
}
