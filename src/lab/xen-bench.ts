import { inTurn, measureInTurn } from './in-turn.ts';
import type { Row } from './row.ts';
import { twoCpus } from './two-cores.ts';
import { BULK, DROPS, type Entry, MAPPED, PLAIN, rowsOf, withWorlds } from './xen-cases.ts';
import { XEN_COST_TEXT } from './xen-model.ts';
import { startTcp } from './xen-tcp.ts';
import { packetsCase, roundTripCase, runThreaded } from './xen-threads.ts';
import { contenderOf, type Way } from './xen-turns.ts';
import { startPackets } from './xen-virtual.ts';
import type { XenLane, XenWorld } from './xen-world.ts';

const SIZES = [64, 256, 260, 1500];
const BULK_BYTES = 1500;
/** Queues in virtual time. */
const QUEUES = [1, 4];

const sayCopies = (copies: number): string => `${copies.toFixed(2)} copies by grant`;
const onlyLane = ({ lanes }: XenWorld): XenLane => lanes[0] as XenLane;

/** Each world's ends in turn, a ring full of packets at a time: ns of each end, and how many packets there were. */
function ringsFull(worlds: readonly XenWorld[], way: Way, bytes: number, entries: readonly Entry[]) {
  const counts = worlds.map(() => ({ items: 0 }));
  const contenders = worlds.map((world, i) => {
    const { give, take } = contenderOf(world, onlyLane(world), way, bytes, entries[i]?.use);
    const count = counts[i] as { items: number };
    return {
      give() {
        const n = give();
        count.items += n;
        return n;
      },
      take,
    };
  });
  return measureInTurn(contenders).map((sides, i) => ({ ...sides, items: counts[i]?.items ?? 0 }));
}

/** A way and a size with real system calls: both ends on one core, millions a second. */
function onOneCore(way: Way, bytes: number, entries: readonly Entry[]): Promise<Row[]> {
  return withWorlds('mapped', 1, entries, (worlds) => {
    const said = ringsFull(worlds, way, bytes, entries).map(({ give, take, note, items }, i) => ({
      name: `xen ${way} ${bytes} B, ${entries[i]?.name}`,
      value: 1000 / (give + take),
      notes: [note, sayCopies((worlds[i] as XenWorld).costs().copies / items)],
    }));
    return rowsOf(entries, 'M/s', 'one core', said);
  });
}

/** The same with each end on a thread of its own. */
function onThreads(way: Way, bytes: number, entries: readonly Entry[], cpus: [number, number]): Promise<Row[]> {
  return withWorlds('mapped', 1, entries, async (worlds) => {
    const cases = worlds.map((world, i) => packetsCase(world, way, bytes, entries[i]?.use));
    const { state, results } = await runThreaded(cases, cpus);
    const said = results.map(({ ns, note, copies }, i) => ({
      name: `xen ${way} ${bytes} B, ${entries[i]?.name}, 2 threads`,
      value: ns === null ? null : 1000 / ns,
      notes: [note, sayCopies(copies)],
    }));
    return rowsOf(entries, 'M/s', state, said);
  });
}

/** The same with each end of each queue on a core of its own, in virtual time, and Xen's part from counts. */
function inVirtualTime(way: Way, bytes: number, entries: readonly Entry[], queues: number): Promise<Row[]> {
  return withWorlds('plain', queues, entries, (worlds) => {
    const runs = worlds.map((world, i) => startPackets(world, way, bytes, entries[i]?.use));
    const figures = inTurn(runs.map(({ window }) => window));
    const said = figures.map(({ ns, copies, note }, i) => ({
      name: `xen ${way} ${bytes} B, ${entries[i]?.name}, ${queues === 1 ? '1 queue' : `${queues} queues`}`,
      value: 1000 / ns,
      notes: [note, sayCopies(copies), i === 0 ? XEN_COST_TEXT : ''],
    }));
    return rowsOf(entries, 'M/s', 'virtual time', said);
  });
}

/** A request of one packet, and its answer: each end on a thread of its own, which sleeps or looks again. */
function roundTrips(sleeps: boolean, cpus: [number, number]): Promise<Row[]> {
  return withWorlds('mapped', 1, PLAIN, async (worlds) => {
    const { state, results } = await runThreaded(
      worlds.map((world) => roundTripCase(world, 64, sleeps)),
      cpus,
    );
    const said = results.map(({ ns, note, quantiles, events, slept }, i) => ({
      name: `xen round trip, ${sleeps ? 'interrupts' : 'busy poll'}, ${PLAIN[i]?.name}`,
      value: ns === null ? null : 1e6 / ns,
      notes: [note, `${events.toFixed(2)} events and ${slept.toFixed(2)} sleeps each; quantiles in ns`],
      quantiles,
    }));
    return rowsOf(PLAIN, 'K/s', state, said);
  });
}

/** Full frames, as many as a ring has slots at once: bytes a second, and what each path shares for it. */
function bulk(way: Way): Promise<Row[]> {
  return withWorlds('mapped', 1, BULK, (worlds) => {
    const said = ringsFull(worlds, way, BULK_BYTES, BULK).map(({ give, take, note, items }, i) => {
      const world = worlds[i] as XenWorld;
      const { granted, own } = world.sharedBytes();
      const { sender } = (way === 'tx' ? onlyLane(world).front : onlyLane(world).back).queue;
      const byGrant = ((100 * sender.fallbacks()) / items).toFixed(0);
      const shared = `${granted >> 10} KiB granted, ${own >> 10} of them beside rings and slots`;
      return {
        name: `xen bulk ${way}, ${BULK[i]?.name}`,
        value: (BULK_BYTES * 1000) / (give + take),
        notes: [note, shared, `${byGrant} % fell back`],
      };
    });
    return rowsOf(BULK, 'MB/s', 'one core', said);
  });
}

/** Bulk transfers over TCP in virtual time: payload that arrives, and how much of it had to be sent again. */
function bulkTcp(way: Way): Promise<Row[]> {
  return withWorlds('plain', 1, BULK, (worlds) => {
    const runs = worlds.map((world) => startTcp(world, way));
    const figures = inTurn(runs.map(({ window }) => window));
    const said = figures.map(({ ns, note }, i) => {
      const { segments = 0, again = 0 } = runs[i] ?? {};
      const { granted } = (worlds[i] as XenWorld).sharedBytes();
      const resent = `${again} of ${segments} segments sent again: ${((100 * again) / segments).toFixed(2)} %`;
      return {
        name: `xen TCP bulk ${way}, ${BULK[i]?.name}`,
        value: 1000 / ns,
        notes: [note, resent, `${granted >> 10} KiB granted`],
      };
    });
    return rowsOf(BULK, 'MB/s', 'virtual time', said);
  });
}

/** Ways, sizes and entries of the table that was published with staging grants. */
const TABLE: readonly (readonly [Way, number, readonly Entry[]])[] = [
  ...(['tx', 'rx'] as const).flatMap((way) => SIZES.map((bytes) => [way, bytes, PLAIN] as const)),
  ['tx', 256, MAPPED],
  ['rx', 64, DROPS],
];

/** Runs `rows` with two CPUs; one row that says why not, when there are none. */
async function withTwoCpus(rows: (cpus: [number, number]) => Promise<Row[]>): Promise<Row[]> {
  const cpus = twoCpus();
  if (typeof cpus !== 'string') return rows(cpus);
  const entry = { name: 'xen, 2 threads', path: { kind: 'copy' } } as const;
  return rowsOf([entry], 'M/s', 'not measured', [{ name: entry.name, value: null, notes: [cpus] }]);
}

/**
 * Xen's network devices by data path. First with real system calls, pages mapped, a batch of copies by grant one process_vm_readv: both ends
 * of a queue on one core, then each on a thread of its own. Then in virtual time: each end of one queue, and of four, on a core of
 * its own, and for each copy by grant that was counted what it took there (`xen-model.ts`). Paths are measured in turn. Then
 * requests with their answers on threads, which sleep or do not, and full frames in bulk, alone and over TCP.
 */
export async function benchXen(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [way, bytes, entries] of TABLE) rows.push(...(await onOneCore(way, bytes, entries)));
  rows.push(
    ...(await withTwoCpus(async (cpus) => {
      const threaded: Row[] = [];
      for (const [way, bytes, entries] of TABLE) threaded.push(...(await onThreads(way, bytes, entries, cpus)));
      for (const sleeps of [true, false]) threaded.push(...(await roundTrips(sleeps, cpus)));
      return threaded;
    })),
  );
  for (const queues of QUEUES) {
    for (const [way, bytes, entries] of TABLE) rows.push(...(await inVirtualTime(way, bytes, entries, queues)));
  }
  for (const way of ['tx', 'rx'] as const) rows.push(...(await bulk(way)), ...(await bulkTcp(way)));
  return rows;
}
