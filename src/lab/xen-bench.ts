import type { FrontPath } from '../xen/netfront-queue.ts';
import { type Contender, measureInTurn, type Sides } from './in-turn.ts';
import { type Row, rowOf, type State } from './row.ts';
import { XEN_COST, XEN_COST_TEXT } from './xen-model.ts';
import { contenderOf, ownCopyNs, roundTrip, type Use, type Way } from './xen-turns.ts';
import { createGround, type XenLane, XenWorld } from './xen-world.ts';

const COPY = { kind: 'copy' } as const;
const STAGING = { kind: 'staging', tx: 256, rx: 256 } as const;
const WHOLE = { kind: 'staging', tx: 65_536, rx: 65_536 } as const;
/** Data rings of 64 KiB each way, and of 1 MiB, which holds as many full frames as a ring has slots. */
const DATA_RING = { kind: 'data-ring', order: 5 } as const;
const LARGE_DATA_RING = { kind: 'data-ring', order: 9 } as const;
const SIZES = [64, 256, 260, 1500];
const BULK_BYTES = 1500;
/** Queues of the rows in virtual time, beside one. */
const QUEUES = 4;

/** One of those that are measured in turn. The first is what the others are compared with. */
interface Entry {
  readonly name: string;
  readonly path: FrontPath;
  readonly use?: Use;
}

const BY_COPY: Entry = { name: 'grant copy', path: COPY };
const BY_STAGING: Entry = { name: 'staging 256', path: STAGING };
const BY_DATA_RING: Entry = { name: 'data ring 128 KiB', path: DATA_RING };
const PLAIN = [BY_COPY, BY_STAGING, BY_DATA_RING];
/** With a page that is mapped for what is beyond the first 256 bytes. */
const MAPPED: readonly Entry[] = [
  { name: 'grant copy + map for 4 B more', path: COPY, use: 'map' },
  { name: 'staging 256 + map for 4 B more', path: STAGING, use: 'map' },
];
const DROPS: readonly Entry[] = [
  { name: 'staging 256, drop in the stack', path: STAGING, use: 'stack' },
  { name: 'grant copy, drop in the stack', path: COPY, use: 'stack' },
  { name: 'staging 256, buffers given back', path: STAGING },
  { name: 'staging 256, XDP_DROP', path: STAGING, use: 'program' },
];
const BULK: readonly Entry[] = [
  BY_COPY,
  BY_STAGING,
  { name: 'staging whole packets', path: WHOLE },
  BY_DATA_RING,
  { name: 'data ring 2 MiB', path: LARGE_DATA_RING },
  { name: 'maps kept as they come', path: { kind: 'persistent' } },
  { name: 'maps kept by message', path: { kind: 'control' } },
];

/** What a contender came to, and what was looked up of its device at the end. */
interface Outcome<T> extends Sides {
  readonly entry: Entry;
  readonly seen: T;
}

/** A device that is measured: a queue of it. */
interface Measured {
  readonly world: XenWorld;
  readonly lane: XenLane;
  readonly entry: Entry;
}

/** Measures devices in turn, each in a Xen of its own. `look` is given how many items each moved. */
async function inTurn<T>(
  mode: 'mapped' | 'plain',
  entries: readonly Entry[],
  make: (device: Measured) => Contender,
  look: (device: Measured, items: number) => T,
): Promise<Outcome<T>[]> {
  const devices: Measured[] = [];
  const cases = entries.map(({ path }) => ({ mode, path, queues: 1 }));
  const ground = createGround(cases);
  for (const [index, entry] of entries.entries()) {
    const world = await XenWorld.open(ground, cases[index] as (typeof cases)[number], { index, cache: 2 * index });
    devices.push({ world, lane: world.lanes[0] as XenLane, entry });
  }
  const items = devices.map(() => 0);
  const figures = measureInTurn(
    devices.map((device, i) => {
      const { give, take } = make(device);
      return {
        give() {
          const n = give();
          items[i] = (items[i] as number) + n;
          return n;
        },
        take,
      };
    }),
  );
  const outcomes = devices.map((device, i) => ({
    ...(figures[i] as Sides),
    entry: device.entry,
    seen: look(device, items[i] as number),
  }));
  for (const { world } of devices) await world.close();
  return outcomes;
}

/** Rows of what was measured in turn; the first is the peer of the others. */
function rowsOf<T>(
  outcomes: readonly Outcome<T>[],
  unit: string,
  state: State,
  say: (outcome: Outcome<T>) => { name: string; value: number; note: string },
): Row[] {
  const said = outcomes.map(say);
  return said.map(({ name, value, note }, i) => {
    const notes = [outcomes[i]?.note ?? '', note].filter((part) => part !== '').join('; ');
    const figure = { name, unit, value, state, p50: null, p99: null, p999: null, note: notes };
    const peer = { name: outcomes[0]?.entry.name ?? '', value: said[0]?.value ?? null, note: '' };
    return rowOf(figure, i === 0 ? null : peer);
  });
}

/** Copies by grant that a packet took. */
const copiesEach = ({ world }: Measured, items: number): number => world.costs().copies / items;
const sayCopies = (copies: number): string => `${copies.toFixed(2)} copies by grant`;

/** What is said of a row in virtual time. */
function noteOf(copies: number, queues: number, isFirst: boolean): string {
  if (queues > 1) return `${sayCopies(copies)}; one queue times ${queues}, since they share nothing`;
  return isFirst ? `${sayCopies(copies)}; ${XEN_COST_TEXT}` : sayCopies(copies);
}

/** A way and a size with real system calls: both ends on one core, millions a second. */
async function real(way: Way, bytes: number, entries: readonly Entry[]): Promise<Row[]> {
  const outcomes = await inTurn(
    'mapped',
    entries,
    ({ world, lane, entry }) => contenderOf(world, lane, way, bytes, entry.use),
    copiesEach,
  );
  return rowsOf(outcomes, 'M/s', 'one core', ({ entry, give, take, seen }) => ({
    name: `xen ${way} ${bytes} B, ${entry.name}`,
    value: 1000 / (give + take),
    note: sayCopies(seen),
  }));
}

/**
 * The same with each end of a queue on a core of its own, and Xen's part from counts: whichever end takes longer decides. What
 * copies and maps take here is taken off, or not done.
 */
async function virtual(way: Way, bytes: number, entries: readonly Entry[]): Promise<Row[]> {
  const outcomes = await inTurn(
    'plain',
    entries,
    ({ world, lane, entry }) => contenderOf(world, lane, way, bytes, entry.use === 'map' ? 'free' : entry.use),
    (device, items) => {
      const copies = copiesEach(device, items);
      const own = copies === 0 ? 0 : ownCopyNs(device.world, device.lane, way);
      const cost = way === 'tx' ? XEN_COST.copyTx : XEN_COST.copyRx;
      return { copies, xen: copies * (cost - own) + (device.entry.use === 'map' ? XEN_COST.map : 0) };
    },
  );
  return [1, QUEUES].flatMap((queues) =>
    rowsOf(outcomes, 'M/s', 'virtual time', ({ entry, give, take, seen: { copies, xen } }) => ({
      name: `xen ${way} ${bytes} B, ${entry.name}, ${queues === 1 ? '1 queue' : `${queues} queues`}`,
      value: (queues * 1000) / (way === 'tx' ? Math.max(give, take + xen) : Math.max(give + xen, take)),
      note: noteOf(copies, queues, entry === entries[0]),
    })),
  );
}

/** A request of one packet, and its answer. */
async function roundTrips(interrupts: boolean): Promise<Row[]> {
  const outcomes = await inTurn(
    'mapped',
    PLAIN,
    ({ world, lane }) => roundTrip(world, lane, 64, interrupts),
    ({ world }, items) => (world.costs().hypercalls + world.guest.costs().hypercalls) / items,
  );
  return rowsOf(outcomes, 'K/s', 'one core', ({ entry, give, take, seen }) => ({
    name: `xen round trip, ${interrupts ? 'interrupts' : 'busy poll'}, ${entry.name}`,
    value: 1e6 / (give + take),
    note: `${seen.toFixed(2)} hypercalls`,
  }));
}

/** Full frames, as many as a ring has slots at once: bytes a second, and what each path shares for it. */
async function bulk(way: Way): Promise<Row[]> {
  const outcomes = await inTurn(
    'mapped',
    BULK,
    ({ world, lane }) => contenderOf(world, lane, way, BULK_BYTES),
    ({ world, lane }, items) => {
      const { granted, own } = world.sharedBytes();
      const { sender } = (way === 'tx' ? lane.front : lane.back).queue;
      const byGrant = ((100 * sender.fallbacks()) / items).toFixed(0);
      return `${granted >> 10} KiB granted, ${own >> 10} of them beside rings and slots; ${byGrant} % fell back`;
    },
  );
  return rowsOf(outcomes, 'MB/s', 'one core', ({ entry, give, take, seen }) => ({
    name: `xen bulk ${way}, ${entry.name}`,
    value: (BULK_BYTES * 1000) / (give + take),
    note: seen,
  }));
}

/**
 * Xen's network devices by data path, the rows of the table that was published with staging grants. First with real system calls: both
 * ends of a queue on one core, pages mapped, a batch of copies by grant one process_vm_readv. Then in virtual time: each
 * end of each queue on a core of its own, and for each copy by grant that was counted what it took there (`xen-model.ts`). In
 * each, the paths are measured in turn, window by window. Last requests with their answers, and full frames in bulk.
 */
export async function benchXen(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const way of ['tx', 'rx'] as const) {
    for (const bytes of SIZES) rows.push(...(await real(way, bytes, PLAIN)));
  }
  rows.push(...(await real('tx', 256, MAPPED)), ...(await real('rx', 64, DROPS)));
  for (const way of ['tx', 'rx'] as const) {
    for (const bytes of SIZES) rows.push(...(await virtual(way, bytes, PLAIN)));
  }
  rows.push(...(await virtual('tx', 256, MAPPED)), ...(await virtual('rx', 64, DROPS)));
  for (const interrupts of [true, false]) rows.push(...(await roundTrips(interrupts)));
  for (const way of ['tx', 'rx'] as const) rows.push(...(await bulk(way)));
  return rows;
}
