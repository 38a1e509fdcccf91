import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { moduleUrl } from '../util/module-url.ts';
import { type EngineCapabilities, type EngineModule, loadEngine } from './capabilities.ts';
import { DmaModel } from './model.ts';
import { checkModel, type ModelParameters } from './model-parameters.ts';
import { ThreadEngine } from './thread-engine.ts';
import workerEngine from './worker-engine.ts';

/**
 * Who does the work of a device.
 *
 * - `cpu`: whoever submits, before `submit` returns. What the others are measured against.
 * - `worker`: a thread of its own, on processor `cpu` when that is given.
 * - `module`: a thread of its own that runs the engine at `url`, an absolute URL of a module whose default export is an
 *   `EngineModule`; `options` is what it is given.
 * - `model`: nobody, until `device.model.advance(now)` says how late it is.
 */
export type DmaEngine =
  | { readonly kind: 'cpu' }
  | { readonly kind: 'worker'; readonly cpu?: number }
  | { readonly kind: 'module'; readonly url: string; readonly cpu?: number; readonly options?: unknown }
  | { readonly kind: 'model'; readonly model: ModelParameters };

/** A channel, as an engine is given it. */
export interface EngineLane {
  readonly address: number;
  readonly priority: number;
}

/** The engine of a device, seen from its control thread. */
export interface Engine {
  readonly capabilities: EngineCapabilities;
  /** Who submits does the work. */
  readonly inline: boolean;
  /** Of an engine in virtual time, between start and stop. */
  readonly model: DmaModel | undefined;
  /**
   * Begins to serve `lanes`, the highest priority first. Returns the words of the lcore that submits wake, 0 without one.
   * @param onDeath is called once when the engine ends by itself, and works no more.
   */
  start(lanes: readonly EngineLane[], onDeath: (why: RingwayError) => void): Promise<number>;
  /** Goes on until `isIdle` says that nothing is in flight, or it can do no more, or `drainMs` are over. */
  drain(isIdle: () => boolean, drainMs: number): Promise<void>;
  /** Ends it; one that does not answer for `graceMs` is ended where it is. It touches no memory when this resolves. */
  stop(graceMs: number): Promise<void>;
  /** Gives back what it took from the arena. */
  close(): void;
}

function cpuEngine(): Engine {
  return {
    capabilities: { sg: true, fill: true, handlesErrors: true, maxVchans: 64 },
    inline: true,
    model: undefined,
    start: async () => 0,
    drain: async () => {},
    stop: async () => {},
    close() {},
  };
}

class ModelEngine implements Engine {
  readonly capabilities = { sg: true, fill: true, handlesErrors: true, priorities: 4, maxVchans: 64 };
  readonly inline = false;
  model: DmaModel | undefined;
  readonly #arena: Arena;
  readonly #device: string;
  readonly #parameters: ModelParameters;

  constructor(arena: Arena, device: string, parameters: ModelParameters) {
    checkModel(parameters);
    this.#arena = arena;
    this.#device = device;
    this.#parameters = parameters;
  }

  async start(lanes: readonly EngineLane[], onDeath: (why: RingwayError) => void): Promise<number> {
    this.model = new DmaModel(this.#arena, lanes, this.#parameters, () =>
      onDeath(new RingwayError('CLOSED', `${this.#device}: the model vanished`)),
    );
    return 0;
  }

  async drain(): Promise<void> {
    this.model?.drain();
  }

  async stop(): Promise<void> {
    this.model = undefined;
  }

  close(): void {}
}

/**
 * The engine that `options` asks for, not started.
 * @throws RingwayError `BAD_ARGUMENT` when a parameter is out of range or a module is no engine.
 */
export async function makeEngine(arena: Arena, device: string, options: DmaEngine): Promise<Engine> {
  switch (options.kind) {
    case 'cpu':
      return cpuEngine();
    case 'model':
      return new ModelEngine(arena, device, options.model);
    case 'worker': {
      const url = moduleUrl('dma/worker-engine.js').href;
      return new ThreadEngine(arena, { device, url, ...options, options: undefined }, workerEngine.capabilities);
    }
    case 'module': {
      // Here only for what it says of itself: its thread imports it again.
      const { capabilities }: EngineModule = await loadEngine(device, options.url);
      return new ThreadEngine(arena, { device, options: undefined, ...options }, capabilities);
    }
    default: {
      const kind = JSON.stringify((options as { kind?: unknown }).kind);
      throw new RingwayError('BAD_ARGUMENT', `${device}: engine ${kind}; there are: cpu, worker, module, model`);
    }
  }
}
