import { createDmaDevice, type DmaDevice } from '../dma/device.ts';
import type { DmaEngine } from '../dma/engines.ts';
import type { Arena } from '../memory/arena.ts';
import type { EngineSnapshot } from '../telemetry/snapshot.ts';
import { createTrack, type Track } from './track.ts';

/** Descriptors of an engine's channel, where the engine can have so many. */
const DESCRIPTORS = 1024;
/** An engine that completes nothing for so long, and has something to do, hangs. */
const STALL_MS = 500;

/** One engine with a channel of its own, on the control thread. */
export class AsyncEngine {
  readonly track: Track;
  /** Lcores that use it, or did. */
  readonly users = new Set<number>();
  readonly #device: DmaDevice;
  #fault: string | undefined;
  /** Operations completed when it was last looked at, and since when it was seen to do nothing with more to do. */
  #completed = 0;
  #stuckSinceMs: number | undefined;

  private constructor(arena: Arena, name: string, device: DmaDevice) {
    this.#device = device;
    this.track = createTrack(arena, name, device.vchanAddress(0));
  }

  /**
   * Makes and starts the engine. What it takes of the arena stays taken.
   * @param onDead is called once when it ended by itself.
   * @throws RingwayError as `createDmaDevice` and `DmaDevice.start` do, `ARENA_FULL`.
   */
  static async start(arena: Arena, name: string, engine: DmaEngine, onDead: () => void): Promise<AsyncEngine> {
    let made: AsyncEngine | undefined;
    const device = await createDmaDevice(arena, {
      name,
      engine,
      onDead: ({ message }) => {
        if (made !== undefined) made.#fault = message;
        onDead();
      },
    });
    const { minDescriptors, maxDescriptors } = device.capabilities;
    device.configure({ vchans: 1 });
    device.vchanSetup(0, { descriptors: Math.max(minDescriptors, Math.min(maxDescriptors, DESCRIPTORS)) });
    made = new AsyncEngine(arena, name, device);
    await device.start();
    return made;
  }

  get works(): boolean {
    return this.#device.state === 'started';
  }

  state(): EngineSnapshot {
    return {
      ...this.#device.stats(0),
      ...this.track.counters(),
      inFlight: this.#device.inFlight(),
      isShared: this.track.isShared(),
      ...(this.#fault === undefined ? {} : { fault: this.#fault }),
    };
  }

  /**
   * Ends an engine that hangs, and completes in the place of one that has ended. To be called every few ms.
   * Resolves with true when it has just been ended.
   */
  async look(nowMs: number): Promise<boolean> {
    // Who submitted before it saw the end waits, too.
    if (this.#device.state === 'dead') this.#device.abort();
    if (!this.works) return false;
    const { completed } = this.#device.stats(0);
    if (completed !== this.#completed || this.#device.inFlight() === 0) {
      this.#completed = completed;
      this.#stuckSinceMs = undefined;
      return false;
    }
    // From when it was seen: between two looks there may be more time than that.
    this.#stuckSinceMs ??= nowMs;
    if (nowMs - this.#stuckSinceMs < STALL_MS) return false;
    this.#fault = `${this.#device.name}: completed nothing for ${STALL_MS} ms, and was ended`;
    await this.#device.terminate();
    this.#device.abort();
    return true;
  }

  /** Ends its thread; no lcore uses it any more. */
  async close(): Promise<void> {
    if (this.#device.state === 'started' || this.#device.state === 'dead') await this.#device.stop();
    this.#device.close();
  }
}
