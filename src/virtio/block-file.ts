import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { RingwayError } from '../util/errors.ts';
import { SECTOR_BYTES } from './block-config.ts';

/** A file whose bytes are a block device's sectors. */
export class BlockFile {
  /** Whole sectors of the file when it was opened; what lies behind them is not reached. */
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly #fd: number;
  #error = '';

  /** @throws RingwayError `SYSTEM` when it cannot be opened, `BAD_ARGUMENT` when it has no sector or is no file. */
  constructor(path: string, options: { readonly readOnly?: boolean } = {}) {
    const { readOnly = false } = options;
    try {
      this.#fd = openSync(path, readOnly ? 'r' : 'r+');
    } catch (cause) {
      throw new RingwayError('SYSTEM', `block device: ${path} cannot be opened: ${(cause as Error).message}`, {
        cause,
      });
    }
    const stat = fstatSync(this.#fd);
    this.readOnly = readOnly;
    this.sectors = Math.floor(stat.size / SECTOR_BYTES);
    if (!stat.isFile() || this.sectors < 1) {
      closeSync(this.#fd);
      throw new RingwayError('BAD_ARGUMENT', `block device: ${path} must be a file of ${SECTOR_BYTES} bytes or more`);
    }
  }

  /** The system's message of the last operation that failed; empty when none did. */
  get lastError(): string {
    return this.#error;
  }

  /** Reads bytes from `position` on into all of `target`. False when the system fails, or the file has become shorter. */
  read(position: number, target: Uint8Array): boolean {
    return this.#all(target, (part, at) => readSync(this.#fd, part, 0, part.length, position + at));
  }

  /** Writes all of `source` at `position`. */
  write(position: number, source: Uint8Array): boolean {
    return this.#all(source, (part, at) => writeSync(this.#fd, part, 0, part.length, position + at));
  }

  /** What was written survives a crash when this returns true. */
  sync(): boolean {
    return this.#all(new Uint8Array(1), () => {
      fdatasyncSync(this.#fd);
      return 1;
    });
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Repeats `step` until all of `bytes` is through. */
  #all(bytes: Uint8Array, step: (part: Uint8Array, at: number) => number): boolean {
    try {
      for (let at = 0; at < bytes.length; ) {
        const moved = step(bytes.subarray(at), at);
        if (moved === 0) throw new Error('end of file');
        at += moved;
      }
      return true;
    } catch (error) {
      this.#error = (error as Error).message;
      return false;
    }
  }
}
