import { LCORE_NANOSECONDS, LCORE_SECONDS } from '../lcore/layout.ts';
import type { Arena } from '../memory/arena.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { OFFLOAD_ANY } from '../packet/layout.ts';
import { formatMac, type Prefix, parseMacBytes, parsePrefix } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import { type AliasEntry, aliasTable, zipfWeights } from './alias.ts';
import { buildFlow, type FlowSpec } from './flow.ts';
import {
  ALIAS_OTHER,
  ALIAS_SHIFT,
  ALIAS_THRESHOLD,
  ALIAS_VALUE,
  FLOW_SHIFT,
  GENERATOR_BYTES,
  GENERATOR_FLOW_ALIAS,
  GENERATOR_FLOW_TABLE,
  GENERATOR_FLOWS,
  GENERATOR_RANDOM,
  GENERATOR_SIZE_ALIAS,
  GENERATOR_SIZES,
  GENERATOR_ZEROES,
} from './layout.ts';
import type { PortInfo, PortType } from './port.ts';

/** Settings of a generator; the configuration's own. */
export interface GeneratorConfig {
  readonly name: string;
  /** Receive queues, which share rate and limit: 1 to 16. */
  readonly queues: number;
  /** Different flows, 1 to 65536. */
  readonly flows: number;
  /** Exponent of the Zipf distribution of packets over flows, 0 (uniform) to 4. */
  readonly zipf: number;
  /** Frame bytes without FCS, 60 to 9000: all the same, the IMIX 7×60 : 4×590 : 1×1514, or a weighted mix. */
  readonly size: number | 'imix' | readonly WeightedSize[];
  /** Packets per second in all; as many as are taken when missing. */
  readonly rate?: number;
  /** Packets in all; forever when missing. */
  readonly limit?: number;
  /** A u32; derived from `Config.seed` when missing. */
  readonly seed?: number;
  /** The first source MAC; `srcMacs` of them follow one another. Chosen by the port when missing. */
  readonly srcMac?: string;
  readonly dstMac?: string;
  /** Different source MACs, 1 to 65536. */
  readonly srcMacs: number;
  readonly dstMacs: number;
  /** Prefix that source addresses are taken from. */
  readonly src: string;
  /** Of the same family as `src`. */
  readonly dst: string;
  readonly protocol: 'udp' | 'tcp';
}

/** A frame size and how often it comes, relative to the others. */
export interface WeightedSize {
  readonly size: number;
  readonly weight: number;
}

interface GeneratorData {
  readonly states: readonly number[];
  /** Per queue. */
  readonly rates: readonly (number | undefined)[];
  readonly limits: readonly (number | undefined)[];
  readonly queues: number;
}

interface GeneratorKernels {
  portsGenerate(state: number, cache: number, slots: number, max: number): number;
}

/** Simple IMIX, 7:4:1, Ethernet frames without FCS (RFC 6985 lists it; sizes as in most traffic generators). */
const IMIX = [
  { size: 60, weight: 7 },
  { size: 590, weight: 4 },
  { size: 1514, weight: 1 },
];
const FRAME_MAX = 9000;
const LOCAL_UNICAST = 0x02;
/** A generator that fell behind its rate makes up for at most this many seconds. */
const BACKLOG_SECONDS = 0.01;

/** Locally administered addresses that differ between ports. */
function defaultMac(seed: number, role: number): string {
  return formatMac((LOCAL_UNICAST * 256 + role) * 2 ** 32 + (seed >>> 0));
}

/** The address `offset` places behind `first`, in network order, with a carry. */
function addressAt(first: Uint8Array, offset: number): Uint8Array {
  const bytes = first.slice();
  let carry = offset;
  for (let at = bytes.length - 1; at >= 0 && carry > 0; at--) {
    carry += bytes[at] ?? 0;
    bytes[at] = carry & 255;
    carry = Math.floor(carry / 256);
  }
  return bytes;
}

/** Addresses that a prefix has room for, up to the 65,536 flows there may be. */
function prefixSize({ bytes, length }: Prefix): number {
  return 2 ** Math.min(16, bytes.length * 8 - length);
}

function prefixOf(config: GeneratorConfig, key: 'src' | 'dst'): Prefix {
  const prefix = parsePrefix(config[key]);
  if (prefix === undefined) {
    throw new RingwayError('BAD_CONFIG', `ports.${config.name}.${key}: ${config[key]} is no prefix such as 10.0.0.0/8`);
  }
  return prefix;
}

function macOf(config: GeneratorConfig, key: 'srcMac' | 'dstMac', fallback: string): Uint8Array {
  const text = config[key] ?? fallback;
  const mac = parseMacBytes(text);
  if (mac === undefined) {
    throw new RingwayError(
      'BAD_CONFIG',
      `ports.${config.name}.${key}: ${text} is no MAC address such as 02:00:00:00:00:01`,
    );
  }
  return mac;
}

/** The flows: addresses counted up in their prefixes, ports in the dynamic range (RFC 6335: 49152 to 65535). */
function specifyFlows(config: GeneratorConfig, seed: number): FlowSpec[] {
  const src = prefixOf(config, 'src');
  const dst = prefixOf(config, 'dst');
  if (src.family !== dst.family) {
    throw new RingwayError(
      'BAD_CONFIG',
      `ports.${config.name}: src ${config.src} and dst ${config.dst} must be of one family`,
    );
  }
  const srcMac = macOf(config, 'srcMac', defaultMac(seed, 0));
  const dstMac = macOf(config, 'dstMac', defaultMac(seed, 1));
  return Array.from({ length: config.flows }, (_, flow) => ({
    srcMac: addressAt(srcMac, flow % config.srcMacs),
    dstMac: addressAt(dstMac, flow % config.dstMacs),
    src: addressAt(src.bytes, flow % prefixSize(src)),
    dst: addressAt(dst.bytes, flow % prefixSize(dst)),
    srcPort: 49152 + (flow % 16384),
    dstPort: 1024 + (Math.floor(flow / 16384) % 16384),
    protocol: config.protocol,
  }));
}

function sizesOf({ size }: GeneratorConfig): readonly WeightedSize[] {
  if (size === 'imix') return IMIX;
  return typeof size === 'number' ? [{ size, weight: 1 }] : size;
}

/** Headers are longer than the smallest frame for TCP over IPv6 (74 bytes): such frames grow to hold them. */
function smallestFrame(config: GeneratorConfig): number {
  const l4 = 14 + (config.src.includes(':') ? 40 : 20);
  return Math.max(60, l4 + (config.protocol === 'tcp' ? 20 : 8));
}

function writeAlias(arena: Arena, at: number, entries: readonly AliasEntry[], values: readonly number[]): void {
  entries.forEach(({ threshold, other }, index) => {
    const entry = (at + (index << ALIAS_SHIFT)) >>> 2;
    arena.u32[entry + (ALIAS_THRESHOLD >>> 2)] = threshold;
    arena.u32[entry + (ALIAS_OTHER >>> 2)] = other;
    arena.u32[entry + (ALIAS_VALUE >>> 2)] = values[index] ?? 0;
  });
}

function generatorBytes(flows: number, sizes: number, queues: number): number {
  // Words of each queue, alias tables, flows, zeroes for frames of several buffers.
  return queues * GENERATOR_BYTES + ((flows + sizes) << ALIAS_SHIFT) + (flows << FLOW_SHIFT) + FRAME_MAX;
}

/** An even share of `total` for queue `queue` of `queues`: the shares add up. */
function shareOf(total: number | undefined, queue: number, queues: number): number | undefined {
  if (total === undefined) return undefined;
  return Math.floor((total * (queue + 1)) / queues) - Math.floor((total * queue) / queues);
}

/** Makes packets of UDP or TCP flows, with right lengths and checksums. What is sent to it is dropped there. */
export const generatorPort: PortType<GeneratorConfig> = {
  bytes: (config) => generatorBytes(config.flows, sizesOf(config).length, config.queues),

  create(setup, config) {
    const { arena, name } = setup;
    const { flows, queues } = config;
    const seed = config.seed ?? setup.seed;
    const specs = specifyFlows(config, seed);
    const sizes = sizesOf(config);
    const region = arena.allocate(`${name} generator`, generatorBytes(flows, sizes.length, queues), 128);
    const flowTable = region + queues * GENERATOR_BYTES;
    const flowAlias = flowTable + (flows << FLOW_SHIFT);
    const sizeAlias = flowAlias + (flows << ALIAS_SHIFT);
    specs.forEach((spec, index) => {
      arena.u8.set(buildFlow(spec), flowTable + (index << FLOW_SHIFT));
    });
    writeAlias(arena, flowAlias, aliasTable(zipfWeights(flows, config.zipf)), []);
    const frameBytes = sizes.map(({ size }) => Math.max(size, smallestFrame(config)));
    writeAlias(arena, sizeAlias, aliasTable(sizes.map(({ weight }) => weight)), frameBytes);
    const states = Array.from({ length: queues }, (_, queue) => {
      const state = region + queue * GENERATOR_BYTES;
      const words: [number, number][] = [
        [GENERATOR_RANDOM, (seed ^ (queue * 0x9e3779b9)) >>> 0],
        // The state must not be 0.
        [GENERATOR_RANDOM + 4, 0x9e3779b9],
        [GENERATOR_FLOWS, flows],
        [GENERATOR_SIZES, sizes.length],
        [GENERATOR_FLOW_ALIAS, flowAlias],
        [GENERATOR_SIZE_ALIAS, sizeAlias],
        [GENERATOR_FLOW_TABLE, flowTable],
        [GENERATOR_ZEROES, sizeAlias + (sizes.length << ALIAS_SHIFT)],
      ];
      for (const [offset, value] of words) arena.u32[(state + offset) >>> 2] = value;
      return state;
    });
    const shares = <T>(pick: (queue: number) => T): T[] => Array.from({ length: queues }, (_, queue) => pick(queue));
    const data: GeneratorData = {
      states,
      rates: shares(() => (config.rate === undefined ? undefined : config.rate / queues)),
      limits: shares((queue) => shareOf(config.limit, queue, queues)),
      queues,
    };
    return { data, rxQueues: queues, pausable: true, finite: config.limit !== undefined };
  },

  attach(context, shared) {
    const data = shared as GeneratorData;
    const { arena, cache, lcore, queue } = context;
    const { portsGenerate, poolFree } = arena.kernels<GeneratorKernels & PoolKernels>();
    const state = data.states[queue] ?? 0;
    const limit = data.limits[queue];
    let rate = data.rates[queue];
    let made = 0;
    /** Packets that may be made now, and when that was counted. */
    let credit = 0;
    let creditedAt: number | undefined;

    const allowed = (max: number): number => {
      const left = limit === undefined ? max : Math.min(max, limit - made);
      if (rate === undefined) return left;
      const now =
        (arena.u32[(lcore + LCORE_SECONDS) >>> 2] ?? 0) + (arena.u32[(lcore + LCORE_NANOSECONDS) >>> 2] ?? 0) / 1e9;
      credit += (now - (creditedAt ?? now)) * rate;
      creditedAt = now;
      // A burst at least, or a slow rate would never have one packet's worth.
      credit = Math.min(credit, Math.max(max, rate * BACKLOG_SECONDS));
      return Math.min(left, Math.floor(credit));
    };

    return {
      rxBurst(slots, max) {
        const n = allowed(max);
        if (n === 0) return 0;
        const got = portsGenerate(state, cache, slots, n);
        made += got;
        if (rate !== undefined) credit -= got;
        return got;
      },
      offloads: OFFLOAD_ANY,
      txBurst(slots, count) {
        poolFree(cache, slots, count);
        return count;
      },
      info(): PortInfo {
        return {
          done: limit !== undefined && made >= limit,
          ...(limit === undefined ? {} : { progress: limit === 0 ? 1 : made / limit }),
        };
      },
      close() {},
      set(name, value) {
        if (name !== 'rate' || (value !== undefined && typeof value !== 'number')) {
          throw new RingwayError(
            'BAD_ARGUMENT',
            `generator: ${name} cannot be changed while it runs; only its rate can`,
          );
        }
        rate = value === undefined ? undefined : value / data.queues;
        creditedAt = undefined;
      },
    };
  },

  release({ arena, name }) {
    arena.release(`${name} generator`);
  },
};
