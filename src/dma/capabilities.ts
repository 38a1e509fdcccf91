import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import type { EngineVchan } from './engine-vchan.ts';
import { DESCRIPTORS_MAX, DESCRIPTORS_MIN, SGES_MAX } from './layout.ts';

/** What an engine of a user's says of itself; what it leaves out it cannot. Copies from memory to memory all can. */
export interface EngineCapabilities {
  /** Copies with lists of segments (SG). */
  readonly sg?: boolean;
  /** Fills (OPS_FILL). */
  readonly fill?: boolean;
  /** It goes on after an operation that failed, and says which it was (HANDLES_ERRORS). */
  readonly handlesErrors?: boolean;
  /** Priorities that channels may have, 1 to 8; 1, the default: all channels are alike. */
  readonly priorities?: number;
  /** Channels that it serves at most, 1 to 64. 1 by default. */
  readonly maxVchans?: number;
}

/**
 * What a device can do. In brackets the RTE_DMA_CAPA_… or the member of struct rte_dma_info of DPDK's
 * lib/dmadev/rte_dmadev.h that means the same.
 */
export interface DmaCapabilities extends Required<EngineCapabilities> {
  /** It copies from memory to memory (MEM_TO_MEM). */
  readonly memToMem: boolean;
  /** Channels may be silent: nothing is collected (SILENT). */
  readonly silent: boolean;
  /** Descriptors of a channel (min_desc, max_desc). */
  readonly minDescriptors: number;
  readonly maxDescriptors: number;
  /** Entries of an SG list (max_sges); 0 without SG. */
  readonly maxSges: number;
}

/** What an engine is started with, on its own thread. */
export interface EngineContext {
  readonly arena: Arena;
  /** The channels to serve, the highest priority first. */
  readonly vchans: readonly EngineVchan[];
  /** What the device was created with: anything that can be posted. */
  readonly options: unknown;
}

/** The default export of an engine's module. */
export interface EngineModule {
  readonly capabilities: EngineCapabilities;
  /**
   * Called once on the engine's thread. Returns what that thread calls again and again: it works on some pending
   * operations of the channels and returns how many it completed, 0 when there was nothing to do.
   */
  start(context: EngineContext): (() => number) | Promise<() => number>;
}

const PRIORITIES_MAX = 8;
const VCHANS_MAX = 64;

/**
 * The capabilities of a device whose engine says `own` of itself.
 * @throws RingwayError `BAD_ARGUMENT` when a number is out of range.
 */
export function capabilitiesOf(device: string, own: EngineCapabilities): DmaCapabilities {
  const { sg = false, fill = false, handlesErrors = false, priorities = 1, maxVchans = 1 } = own;
  for (const [what, value, max] of [
    ['priorities', priorities, PRIORITIES_MAX],
    ['maxVchans', maxVchans, VCHANS_MAX],
  ] as const) {
    if (!Number.isInteger(value) || value < 1 || value > max) {
      throw new RingwayError('BAD_ARGUMENT', `${device}: its engine says ${what}=${value}, must be from 1 to ${max}`);
    }
  }
  return {
    memToMem: true,
    sg,
    fill,
    silent: true,
    handlesErrors,
    priorities,
    maxVchans,
    minDescriptors: DESCRIPTORS_MIN,
    maxDescriptors: DESCRIPTORS_MAX,
    maxSges: sg ? SGES_MAX : 0,
  };
}

/**
 * Imports the engine module at `url`.
 * @throws RingwayError `BAD_ARGUMENT` when it cannot be imported or its default export is no engine.
 */
export async function loadEngine(device: string, url: string): Promise<EngineModule> {
  let loaded: { default?: Partial<EngineModule> };
  try {
    loaded = await import(url);
  } catch (cause) {
    throw new RingwayError('BAD_ARGUMENT', `${device}: engine ${url} cannot be imported: ${cause}`, { cause });
  }
  const { capabilities, start } = loaded.default ?? {};
  if (typeof capabilities !== 'object' || typeof start !== 'function') {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${device}: engine ${url} must export by default an object with capabilities and start(context)`,
    );
  }
  return loaded.default as EngineModule;
}
