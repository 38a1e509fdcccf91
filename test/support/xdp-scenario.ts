import { copyFileSync, writeFileSync } from 'node:fs';
import { RingwayError } from 'ringway/memory';
import { Random } from '#build/util/random.js';
import { writeObject } from '../xdp/support/object.ts';
import { MachineBench, type MachineBenchOptions, problemsAtEnd } from './machine-bench.ts';
import { type Places, randomPort, randomRule, randomTopology, spread } from './topology.ts';

const FIXTURE = new URL('../bpf/object/fixtures/verdicts.o', import.meta.url);

/** What `verdicts.c` can do with a packet, by number. */
export const WHAT = {
  pass: 0,
  drop: 1,
  back: 2,
  abort: 3,
  noAction: 4,
  toIndex: 5,
  toDevice: 6,
  toDeviceHash: 7,
  toCpu: 8,
  toSocket: 9,
  head: 10,
  tail: 11,
  call: 12,
  write: 13,
} as const;

type Source = Record<string, unknown>;

/** Copies of the fixture, and programs that do wrong: paths of object files. */
export interface Objects {
  readonly verdicts: readonly string[];
  readonly wild: readonly string[];
}

export function writeObjects(path: (name: string) => string): Objects {
  const verdicts = ['first', 'second', 'third'].map((name) => path(`${name}.o`));
  for (const target of verdicts) copyFileSync(FIXTURE, target);
  const wild = [
    ['reads-far', 'lddw %r1, 0x7fff0000\nldxdw %r0, [%r1+0]\nexit'],
    ['reads-behind', 'ldxw %r2, [%r1+4]\nldxb %r0, [%r2+0]\nexit'],
    ['writes-before', 'ldxw %r2, [%r1+0]\nstdw [%r2-8], 7\nmov %r0, 2\nexit'],
  ] as const;
  const paths = wild.map(([name, source]) => {
    writeFileSync(path(`${name}.o`), writeObject(name, source));
    return path(`${name}.o`);
  });
  return { verdicts, wild: paths };
}

const one = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)] as T;

/** What to do with a packet: mostly what keeps it on its way. */
function randomChoice(random: Random): Source {
  const what = one(random, [...Object.values(WHAT), WHAT.pass, WHAT.toDevice, WHAT.toCpu, WHAT.toIndex]);
  const argument =
    what === WHAT.head
      ? random.below(260) - 200
      : what === WHAT.tail
        ? random.below(500) - 150
        : one(random, [0, 1, 2, 3, 4, 5, 7, random.below(10), 255, -1]);
  return { what, argument };
}

function mapping(random: Random, keys: number, make: (key: number) => unknown): Source {
  return Object.fromEntries(
    Array.from({ length: keys }, (_, key) => key)
      .filter(() => random.below(4) !== 0)
      .map((key) => [key, make(key)]),
  );
}

/** The XDP program of a port, as a configuration has it, over the ports `names`. */
export function randomProgram(random: Random, { verdicts, wild }: Objects, names: readonly string[]): Source {
  if (random.below(12) === 0) return { object: one(random, wild) };
  const frags = random.below(2) === 0;
  const ending = frags ? '_frags' : '';
  const withProgram = (entry: Source, program: string): Source =>
    random.below(3) === 0 ? { ...entry, program: `${program}${random.below(5) === 0 ? '' : ending}` } : entry;
  const port = (): unknown => (random.below(6) === 0 ? 1 + random.below(40) : `port:${one(random, names)}`);
  return {
    object: one(random, verdicts),
    program: frags ? 'several' : 'one',
    trusted: random.below(4) === 0,
    maps: {
      choices: Object.fromEntries(Array.from({ length: 48 }, (_, key) => [key, randomChoice(random)])),
      devices: mapping(random, 6, () => withProgram({ ifindex: port() }, 'at_device')),
      devices_hash: mapping(random, 6, () => withProgram({ ifindex: port() }, 'at_device')),
      cpus: mapping(random, 6, () => withProgram({ qsize: 192 }, 'at_cpu')),
      sockets: mapping(random, 6, port),
      calls: mapping(random, 6, () => (frags ? 'several' : 'one')),
    },
  };
}

/** The same dataplane with programs at most of its ports. */
export function withPrograms(random: Random, source: Source, objects: Objects): Source {
  const ports = source.ports as Record<string, Source>;
  const names = Object.keys(ports);
  const entries = names.map((name) => [
    name,
    random.below(4) === 0 ? ports[name] : { ...ports[name], xdp: randomProgram(random, objects, names) },
  ]);
  return { ...source, ports: Object.fromEntries(entries) };
}

/** One change to a running dataplane, of a kind that a seed picks. */
async function change(bench: MachineBench, random: Random, places: Places, objects: Objects): Promise<void> {
  const { names } = bench;
  const name = one(random, names);
  const edges = bench.config.lcores.length - (bench.config.eventdev?.workers.length ?? 0);
  switch (random.below(9)) {
    case 0:
    case 1:
    case 2:
      return bench.attach(name, randomProgram(random, objects, names));
    case 3:
      return bench.xdp.detach(name);
    case 4:
      if (names.length > 1) await bench.deletePort(name);
      return;
    case 5: {
      const added = `n${random.below(1000)}`;
      const port = randomPort(random, places, added, edges, true);
      const xdp = random.below(2) === 0 ? {} : { xdp: randomProgram(random, objects, names) };
      return bench.addPort(added, { ...port, ...xdp });
    }
    case 6:
    case 7: {
      const map = one(
        random,
        bench.xdp.listMaps().filter(({ name: full }) => full.endsWith('/choices')),
      );
      if (map !== undefined) bench.xdp.updateMap(map.name, random.below(48), randomChoice(random));
      return;
    }
    case 8:
      if (bench.config.eventdev === undefined) {
        bench.steer(randomRule(random, names, bench.config.lcores.length));
      }
      return;
  }
}

export interface XdpOutcome {
  readonly problems: unknown[];
  readonly sent: number;
  readonly drops: Readonly<Record<string, number>>;
}

interface RunOptions extends MachineBenchOptions {
  readonly isSpread?: boolean;
}

/** Runs a random dataplane with random XDP programs through random changes to a random end. */
export async function xdpRun(
  seed: number,
  places: Places,
  objects: Objects,
  { isSpread = false, ...options }: RunOptions = {},
): Promise<XdpOutcome> {
  const random = new Random(seed);
  const plain = withPrograms(random, randomTopology(random, places, random.below(2) === 0), objects);
  const source = isSpread ? spread(random, plain) : plain;
  const buffers = random.below(5) === 0 ? 300 : 3000;
  const bench = new MachineBench(source, random, { buffers, ...options });
  await bench.start();
  const refusals: unknown[] = [];
  for (let phase = random.below(9); phase > 0; phase--) {
    bench.poll(random.below(random.below(5) === 0 ? 200 : 50));
    await change(bench, random, places, objects).catch((error) => {
      // A port without a program, a name that is taken, a port that the program names and is gone.
      if (!(error instanceof RingwayError)) refusals.push(error);
    });
  }
  const last = await bench.stop(random.below(2) === 0 ? 0 : 2000);
  const problems = [...refusals, ...problemsAtEnd(last, bench.machine)];
  return { problems, sent: last.totals.sent, drops: last.drops };
}

/** Runs the seeds from `first` on. Throws at the first one after which something is wrong. Returns all that was dropped. */
export async function xdpRuns(
  first: number,
  count: number,
  places: Places & { open(): string[] },
  options: RunOptions = {},
): Promise<XdpOutcome> {
  const objects = writeObjects(places.path);
  let sent = 0;
  const drops: Record<string, number> = {};
  for (let seed = first; seed < first + count; seed++) {
    let outcome: XdpOutcome;
    try {
      outcome = await xdpRun(seed, places, objects, options);
    } catch (cause) {
      throw new Error(`seed ${seed}: ${cause}`, { cause });
    }
    const problems = [...outcome.problems, ...places.open()];
    if (problems.length > 0)
      throw new Error(
        `seed ${seed}: ${problems.map((each) => (each instanceof Error ? each.stack : JSON.stringify(each))).join('\n')}`,
      );
    sent += outcome.sent;
    for (const [reason, n] of Object.entries(outcome.drops)) drops[reason] = (drops[reason] ?? 0) + n;
  }
  return { problems: [], sent, drops };
}
