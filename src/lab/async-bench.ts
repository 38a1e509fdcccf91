import type { Assignment } from '../async/assign.ts';
import { createTrack } from '../async/track.ts';
import type { Integration } from '../async/transmit.ts';
import { createDmaDevice } from '../dma/device.ts';
import { costRows } from './async-cost.ts';
import { runVirtual, startEngines, type VirtualResult } from './async-virtual.ts';
import { type AsyncCase, AsyncWorld, GUESTS_MAX } from './async-world.ts';
import { DSA_TEXT } from './dsa.ts';
import { type Measured, measure } from './measure.ts';
import { type Row, rowOf } from './row.ts';
import { twoCpus } from './two-cores.ts';

const INTEGRATIONS: readonly Integration[] = ['defer', 'v3', 'v4', 'vq'];
const SIZES = [114, 2098];
const SPREADS = ['burst', 'scatter'] as const;
/** What the configuration has when nothing is said. */
const THRESHOLD = 128;
const THRESHOLD_MAX = 65_535;
const BURST = 32;
/** Guests of the rows on real threads, and in virtual time. */
const GUESTS = 8;
const VIRTUAL_GUESTS = [1, 8, GUESTS_MAX];
/** Engines of the rows that scale: as many devices as a processor has at most. */
const ENGINES = 4;
const LCORES = [1, 2, 4, 8];
const ASSIGNMENTS: readonly Assignment[] = ['lcore', 'dynamic-lcore'];
/** Odd: the one in the middle counts. */
const ROUNDS = 5;
const UNIT = 'M/s';
const NOTHING = { value: null, p50: null, p99: null, p999: null };

const rateOf = (ns: number | null): number | null => (ns === null ? null : 1000 / ns);

function nameOf({ way, bytes, threshold, spread, guests }: AsyncCase): string {
  const kept = threshold > bytes ? ' by the CPU' : '';
  return `async ${way}, ${bytes} B${kept}, ${guests === 1 ? '1 guest' : `${spread}, ${guests} guests`}`;
}

/** All ways of all sizes; the last ones are short frames that the threshold leaves to the CPU. */
function casesOf(guests: number, lcores: number): Omit<AsyncCase, 'way'>[] {
  const common = { guests, lcores };
  const spreads = guests === 1 ? SPREADS.slice(0, 1) : SPREADS;
  const [short = 0] = SIZES;
  return [
    ...SIZES.flatMap((bytes) => spreads.map((spread) => ({ ...common, bytes, spread, threshold: 0 }))),
    { ...common, bytes: short, spread: 'burst', threshold: THRESHOLD },
  ];
}

/**
 * The lcore copies: the plain queue, and the async one without an engine. Engines are held against the faster of them, so
 * that no weakness of the other looks like their gain.
 */
function baselines(one: Omit<AsyncCase, 'way'>): AsyncCase[] {
  return [
    { ...one, way: 'cpu' },
    { ...one, way: 'vq', threshold: THRESHOLD_MAX },
  ];
}

/** Sends 32 packets, or more that the next turn has less of, and has guests take what arrived. */
function turnOf(world: AsyncWorld, one: AsyncCase, track: number): () => void {
  const [steps = []] = world.begin(one, new Array<number>(one.guests).fill(track));
  let owed = 0;
  return () => {
    owed += BURST;
    while (owed > 0) {
      for (const step of steps) {
        step.prepare();
        owed -= step.run();
      }
      world.deliver();
    }
  };
}

function measureThreads(world: AsyncWorld, one: AsyncCase, track: number): Measured {
  const measured = measure(BURST, turnOf(world, one, track));
  world.end(() => {});
  return measured;
}

/** An lcore and its guests on one core, the engine on another; each beside copies by the lcore, measured right before. */
async function benchThreads(world: AsyncWorld): Promise<Row[]> {
  const cpus = twoCpus();
  if (typeof cpus === 'string') {
    return [rowOf({ name: 'async, real threads', unit: UNIT, ...NOTHING, state: 'not measured', note: cpus }, null)];
  }
  const { arena } = world;
  const device = await createDmaDevice(arena, { name: 'engine', engine: { kind: 'worker', cpu: cpus[1] } });
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors: 1024 });
  await device.start();
  const { address } = createTrack(arena, 'engine', device.vchanAddress(0));
  const rows = casesOf(GUESTS, 1).flatMap((one) =>
    INTEGRATIONS.map((way) => {
      const all = baselines(one).map((each) => measureThreads(world, each, 0));
      const cpu = all.reduce((a, b) => ((b.value ?? Number.POSITIVE_INFINITY) < (a.value ?? 0) ? b : a));
      const measured = measureThreads(world, { ...one, way }, address);
      const figure = { ...measured, name: nameOf({ ...one, way }), unit: UNIT, value: rateOf(measured.value) };
      return rowOf({ ...figure, state: 'several cores' }, { ...cpu, name: 'CPU copy', value: rateOf(cpu.value) });
    }),
  );
  await device.stop();
  device.close();
  return rows;
}

/** A case in virtual time, with engines of its own. */
async function virtual(world: AsyncWorld, one: AsyncCase, count = 1, assignment: Assignment = 'lcore') {
  const engines = await startEngines(world, count, assignment, one);
  const result = runVirtual(world, one, engines);
  await engines.close();
  return result;
}

/** The same without engines. */
function virtualCopies(world: AsyncWorld, one: Omit<AsyncCase, 'way'>): VirtualResult {
  const all = baselines(one).map((each) => runVirtual(world, each, undefined));
  return all.reduce((a, b) => (b.ns < a.ns ? b : a));
}

/** A row of the case: of rounds, each beside copies by the lcore right before, the one whose ratio is in the middle. */
async function virtualRow(
  world: AsyncWorld,
  name: string,
  one: AsyncCase,
  note = '',
  count = 1,
  by: Assignment = 'lcore',
) {
  const rounds: { cpu: VirtualResult; result: VirtualResult }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const cpu = virtualCopies(world, one);
    rounds.push({ cpu, result: await virtual(world, one, count, by) });
  }
  rounds.sort((a, b) => a.result.ns / a.cpu.ns - b.result.ns / b.cpu.ns);
  const { cpu, result } = rounds[ROUNDS >> 1] as (typeof rounds)[number];
  const waits = result.waiting > 0 ? `${(100 * result.waiting).toFixed(1)} % waiting for locks` : '';
  const figure = { ...NOTHING, name, unit: UNIT, value: rateOf(result.ns), state: 'virtual time' } as const;
  return rowOf({ ...figure, note: note + waits }, { name: 'CPU copy', value: rateOf(cpu.ns), note: '' });
}

/** One lcore and one engine, with few guests and many. */
async function benchGuests(world: AsyncWorld): Promise<Row[]> {
  const rows: Row[] = [];
  for (const guests of VIRTUAL_GUESTS) {
    for (const each of casesOf(guests, 1)) {
      for (const way of INTEGRATIONS) {
        const one = { ...each, way };
        rows.push(await virtualRow(world, `${nameOf(one)}, DSA`, one, rows.length === 0 ? DSA_TEXT : ''));
      }
    }
  }
  return rows;
}

/** One lcore and more, over four engines, by who has which. */
async function benchScaling(world: AsyncWorld): Promise<Row[]> {
  const rows: Row[] = [];
  for (const lcores of LCORES) {
    for (const assignment of ASSIGNMENTS) {
      for (const way of ['defer', 'v3'] as const) {
        const one = { way, bytes: 2098, threshold: 0, spread: 'scatter', guests: GUESTS_MAX, lcores } as const;
        const name = `async ${way}, ${lcores} lcores, ${ENGINES} DSA by ${assignment}`;
        rows.push(await virtualRow(world, name, one, '', ENGINES, assignment));
      }
    }
  }
  return rows;
}

/**
 * Asynchronous copies to guests: packets that an lcore sends, by integration, beside the same with copies by the lcore. On
 * real threads, with the engine on a core of its own, then in virtual time with engines of the kind of Intel's DSA; frames
 * of 114 bytes with and without the threshold that leaves them to the CPU, and of 2,098. Receiving and switching are not
 * in the figures. Last what each integration costs beside time. Samples are turns of 32 packets.
 */
export async function benchAsync(): Promise<Row[]> {
  const world = new AsyncWorld();
  return [...(await benchThreads(world)), ...(await benchGuests(world)), ...(await benchScaling(world)), ...costRows()];
}
