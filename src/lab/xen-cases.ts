import type { FrontPath } from '../xen/netfront-queue.ts';
import { type Row, rowOf, type State } from './row.ts';
import type { Use } from './xen-use.ts';
import { createGround, type XenCase, XenWorld } from './xen-world.ts';

const COPY = { kind: 'copy' } as const;
const STAGING = { kind: 'staging', tx: 256, rx: 256 } as const;
const WHOLE = { kind: 'staging', tx: 65_536, rx: 65_536 } as const;
/** Data rings of 64 KiB each way, and of 1 MiB, which holds as many full frames as a ring has slots. */
const DATA_RING = { kind: 'data-ring', order: 5 } as const;
const LARGE_DATA_RING = { kind: 'data-ring', order: 9 } as const;

/** One of those that are measured in turn. The first is what the others are compared with. */
export interface Entry {
  readonly name: string;
  readonly path: FrontPath;
  readonly use?: Use;
}

const BY_COPY: Entry = { name: 'grant copy', path: COPY };
const BY_STAGING: Entry = { name: 'staging 256', path: STAGING };
const BY_DATA_RING: Entry = { name: 'data ring 128 KiB', path: DATA_RING };
export const PLAIN = [BY_COPY, BY_STAGING, BY_DATA_RING];
/** With a page that is mapped for what is beyond the first 256 bytes. */
export const MAPPED: readonly Entry[] = [
  { name: 'grant copy + map for 4 B more', path: COPY, use: 'map' },
  { name: 'staging 256 + map for 4 B more', path: STAGING, use: 'map' },
];
export const DROPS: readonly Entry[] = [
  { name: 'staging 256, drop in the stack', path: STAGING, use: 'stack' },
  { name: 'grant copy, drop in the stack', path: COPY, use: 'stack' },
  { name: 'staging 256, buffers given back', path: STAGING },
  { name: 'staging 256, XDP_DROP', path: STAGING, use: 'program' },
];
export const BULK: readonly Entry[] = [
  BY_COPY,
  BY_STAGING,
  { name: 'staging whole packets', path: WHOLE },
  BY_DATA_RING,
  { name: 'data ring 2 MiB', path: LARGE_DATA_RING },
  { name: 'maps kept as they come', path: { kind: 'persistent' } },
  { name: 'maps kept by message', path: { kind: 'control' } },
];

/** Devices that are measured in turn: one for each entry, each in a Xen of its own. Closes them behind `work`. */
export async function withWorlds<T>(
  mode: XenCase['mode'],
  queues: number,
  entries: readonly Entry[],
  work: (worlds: readonly XenWorld[]) => T | Promise<T>,
): Promise<T> {
  const cases = entries.map(({ path }) => ({ mode, path, queues }));
  const ground = createGround(cases);
  const worlds: XenWorld[] = [];
  for (const [index, one] of cases.entries()) {
    worlds.push(await XenWorld.open(ground, one, { index, cache: 2 * queues * index }));
  }
  const result = await work(worlds);
  for (const world of worlds) await world.close();
  return result;
}

/** What is said of an entry. */
export interface Said {
  readonly name: string;
  readonly value: number | null;
  readonly notes: readonly string[];
  readonly quantiles?: Pick<Row, 'p50' | 'p99' | 'p999'>;
}

/** Rows of entries that were measured in turn, all of them rates: the first is the peer of the others, and the fastest is named. */
export function rowsOf(entries: readonly Entry[], unit: string, state: State, said: readonly Said[]): Row[] {
  const most = Math.max(...said.map(({ value }) => value ?? 0));
  return said.map(({ name, value, notes, quantiles = { p50: null, p99: null, p999: null } }, i) => {
    const all = [...notes, value === most && said.length > 1 ? 'fastest of these' : ''];
    const note = all.filter((part) => part !== '').join('; ');
    const peer = { name: entries[0]?.name ?? '', value: said[0]?.value ?? null, note: '' };
    return rowOf({ name, unit, value, state, ...quantiles, note }, i === 0 ? null : peer);
  });
}
