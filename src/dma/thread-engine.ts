import { setTimeout as sleep } from 'node:timers/promises';
import { LCORE_BYTES } from '../lcore/layout.ts';
import { type Lcore, startLcore } from '../lcore/lcore.ts';
import type { Arena } from '../memory/arena.ts';
import type { RingwayError } from '../util/errors.ts';
import { moduleUrl } from '../util/module-url.ts';
import type { EngineCapabilities } from './capabilities.ts';
import type { EngineThreadData } from './engine-task.ts';
import type { Engine, EngineLane } from './engines.ts';

/** What an engine's thread is made of. */
export interface ThreadOptions {
  readonly device: string;
  /** URL of the engine's module. */
  readonly url: string;
  /** The processor to stay on; the system decides when left out. */
  readonly cpu?: number;
  readonly options: unknown;
}

/** Between two looks at what is still in flight. */
const LOOK_MS = 1;

/** An engine on an lcore of its own. */
export class ThreadEngine implements Engine {
  readonly capabilities: EngineCapabilities;
  readonly inline = false;
  readonly model = undefined;
  readonly #arena: Arena;
  readonly #options: ThreadOptions;
  readonly #region: string;
  /** Words of the lcore; 0 until it is first started. */
  #address = 0;
  #lcore: Lcore | undefined;

  constructor(arena: Arena, options: ThreadOptions, capabilities: EngineCapabilities) {
    this.#arena = arena;
    this.#options = options;
    this.#region = `${options.device} lcore`;
    this.capabilities = capabilities;
  }

  async start(lanes: readonly EngineLane[], onDeath: (why: RingwayError) => void): Promise<number> {
    const { device, url, cpu, options } = this.#options;
    if (this.#address === 0) this.#address = this.#arena.allocate(this.#region, LCORE_BYTES);
    const data: EngineThreadData = { device, module: url, vchans: lanes, options };
    const lcore = await startLcore(this.#arena, this.#address, {
      index: 0,
      label: device,
      module: moduleUrl('dma/engine-task.js'),
      data,
      idle: 'park',
      ...(cpu === undefined ? {} : { cpu }),
    });
    this.#lcore = lcore;
    lcore.ended.catch((why: RingwayError) => {
      // One that is being stopped was not dead before.
      if (this.#lcore === lcore) onDeath(why);
    });
    return this.#address;
  }

  async drain(isIdle: () => boolean, drainMs: number): Promise<void> {
    const end = performance.now() + drainMs;
    while (!isIdle() && performance.now() < end) await sleep(LOOK_MS);
  }

  async stop(graceMs: number): Promise<void> {
    const lcore = this.#lcore;
    this.#lcore = undefined;
    if (lcore === undefined) return;
    const answered = lcore.stop().then(
      () => {},
      () => {},
    );
    await Promise.race([answered, sleep(graceMs, undefined, { ref: false })]);
    // Resolves when the thread has ended, at once when it has already.
    await lcore.terminate();
  }

  close(): void {
    if (this.#address !== 0) this.#arena.release(this.#region);
    this.#address = 0;
  }
}
