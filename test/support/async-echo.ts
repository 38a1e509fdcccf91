import type { Snapshot } from 'ringway';
import { expect } from 'vitest';
import type { RunningDataplane } from '#build/dataplane/running.js';
import { start } from './dataplanes.ts';

const moduleUrl = (name: string): string => new URL(name, import.meta.url).href;

/** A port that sends `limit` numbered frames, and takes them back in their order; the dataplane ends when it cannot. */
const numbered = (lcore: number, limit: number, access: number) => ({
  type: 'module',
  module: moduleUrl('./numbered-port.mjs'),
  options: { limit, window: 100 },
  learn: false,
  lcore,
  vlan: { access },
});

/** An engine that is a module of the tests. */
export const testEngine = (name: string, options: object) => ({ module: moduleUrl(name), options });

export interface EchoesOptions {
  /** The dataplane's `async`. */
  readonly async: object;
  /** What guests have beside their app. */
  readonly guest?: object;
  /** Frames each way. */
  readonly limit: number;
  /** An lcore more, which does what is between the ports. */
  readonly isSpread?: boolean;
}

/** Two lcores, each with a guest that sends back all that a port on the other lcore sends. */
export class Echoes {
  readonly dataplane: RunningDataplane;
  readonly #limit: number;

  private constructor(dataplane: RunningDataplane, limit: number) {
    this.dataplane = dataplane;
    this.#limit = limit;
  }

  static async start({ async, guest = {}, limit, isSpread = false }: EchoesOptions): Promise<Echoes> {
    const echo = (lcore: number, access: number) => ({
      type: 'guest',
      app: 'forward',
      idle: 'yield',
      learn: false,
      lcore,
      vlan: { access },
      ...guest,
    });
    const dataplane = await start({
      version: 1,
      name: 'echoes',
      lcores: [{ idle: 'park' }, { idle: 'yield' }, ...(isSpread ? [{ idle: 'yield' }] : [])],
      ...(isSpread ? { eventdev: { workers: [2] } } : {}),
      async,
      ports: { a: echo(0, 1), b: echo(1, 2), c: numbered(1, limit, 1), d: numbered(0, limit, 2) },
    });
    return new Echoes(dataplane, limit);
  }

  get async(): NonNullable<Snapshot['async']> {
    return this.dataplane.snapshot().async as NonNullable<Snapshot['async']>;
  }

  /** A counter of all engines, or of all queues, summed. */
  engines(read: (engine: NonNullable<Snapshot['async']>['engines'][number]) => number): number {
    return this.async.engines.reduce((sum, engine) => sum + read(engine), 0);
  }

  /** Frames that came back to both ports. */
  returned(): number[] {
    const { ports } = this.dataplane.snapshot();
    return ['c', 'd'].map((name) => ports.find((port) => port.name === name)?.txPackets ?? 0);
  }

  /** Waits until all have come back. */
  async finished(): Promise<void> {
    const all = [this.#limit, this.#limit];
    await expect.poll(() => this.returned(), { timeout: 60_000, interval: 5 }).toEqual(all);
  }
}
