import { writeFileSync } from 'node:fs';
import { CaptureWriter, readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import type { Snapshot } from '#build/telemetry/snapshot.js';
import { Random } from '#build/util/random.js';
import { MachineBench, problemsAtEnd } from '../support/machine-bench.ts';
import { testFolder } from '../support/port-bench.ts';
import { WHAT, writeObjects } from '../support/xdp-scenario.ts';
import { writeObject } from '../xdp/support/object.ts';

const folder = testFolder();
afterAll(folder.rm);
const {
  verdicts: [first = '', second = ''],
} = writeObjects(folder.path);

interface Choice {
  readonly what: number;
  readonly argument: number;
}
const choice = (what: number, argument = 0): Choice => ({ what, argument });

/** A program that does `here` with what comes in, and `device` and `cpu` behind maps. */
function program(
  here: Choice,
  { device = here, cpu = here, ...maps }: Record<string, unknown> & { device?: Choice; cpu?: Choice } = {},
) {
  const choices = Array.from({ length: 48 }, (_, key) => (key < 16 ? here : key < 32 ? device : cpu));
  return { object: first, program: 'one', maps: { ...maps, choices: { ...choices } } };
}

const generator = (xdp: unknown, more: object = {}): object => ({
  type: 'generator',
  limit: 1000,
  flows: 16,
  lcore: 0,
  ...more,
  ...(xdp === undefined ? {} : { xdp }),
});
const sink = (lcore: number): object => ({ type: 'null', lcore });

/** Runs a dataplane in virtual time until all packets are through. Returns its last snapshot; nothing is lost. */
async function run(
  lcores: number,
  ports: Record<string, object>,
  meanwhile: (bench: MachineBench) => Promise<void> | void = () => {},
): Promise<Snapshot> {
  const bench = new MachineBench({ version: 1, lcores, ports }, new Random(1));
  await bench.start();
  bench.poll(3);
  await meanwhile(bench);
  bench.poll(500);
  const last = await bench.stop(2000);
  expect(problemsAtEnd(last, bench.machine)).toEqual([]);
  return last;
}

const portOf = ({ ports }: Snapshot, name: string): Snapshot['ports'][number] => {
  const found = ports.find((port) => port.name === name);
  if (found === undefined) throw new Error(`no port ${name}`);
  return found;
};

test('what is counted is what the program said', async () => {
  const said = [
    choice(WHAT.pass),
    choice(WHAT.write, 2),
    choice(WHAT.drop),
    choice(WHAT.back),
    choice(WHAT.abort),
    choice(WHAT.noAction),
    choice(WHAT.toIndex, 200),
    choice(WHAT.toDevice, 0),
    // Not in their maps: DROP and TX stand for that.
    choice(WHAT.toDeviceHash, 7),
    choice(WHAT.toSocket, 7),
    choice(WHAT.toCpu, 1),
  ];
  const choices = Object.fromEntries(Array.from({ length: 16 }, (_, key) => [key, said[key % said.length]]));
  const maps = { choices, devices: { 0: 'port:out' }, cpus: { 1: 192 } };
  let done: number[] = [];
  const last = await run(2, { in: generator({ object: first, program: 'one', maps }), out: sink(1) }, (bench) => {
    bench.poll(500);
    const entries = bench.xdp.dumpMap('first/done') as { value: number[] }[];
    done = entries.map(({ value }) => value.reduce((sum, each) => sum + each, 0));
  });
  const of = (what: number): number => done[what] ?? 0;
  expect(done.reduce((sum, each) => sum + each, 0)).toBe(1000);
  for (const { what } of said) expect(of(what)).toBeGreaterThan(20);
  const { xdp, drops } = portOf(last, 'in');
  const pass = of(WHAT.pass) + of(WHAT.write);
  expect(xdp).toEqual({
    object: 'first',
    program: 'one',
    pass,
    drop: of(WHAT.drop) + of(WHAT.toDeviceHash),
    tx: of(WHAT.back) + of(WHAT.toSocket),
    redirect: of(WHAT.toDevice) + of(WHAT.toCpu),
    aborted: of(WHAT.abort) + of(WHAT.noAction),
  });
  expect(drops['xdp-redirect']).toBe(of(WHAT.toIndex));
  expect(portOf(last, 'out').txPackets).toBe(pass + of(WHAT.toDevice) + of(WHAT.toCpu));
});

test('many ports that redirect to one lose nothing, since their sources wait', async () => {
  const xdp = program(choice(WHAT.toDevice), { devices: { 0: 'port:out' } });
  const sources = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`in${index}`, generator(xdp)]));
  for (const lcores of [1, 2]) {
    const last = await run(lcores, { ...sources, out: sink(lcores - 1) });
    expect(last.drops).toEqual({});
    expect(portOf(last, 'out').txPackets).toBe(8000);
  }
});

test('the program of a device map runs before a packet leaves', async () => {
  const devices = { 0: { ifindex: 'port:out', program: 'at_device' } };
  const here = choice(WHAT.toDevice);
  const passed = await run(1, { in: generator(program(here, { device: choice(WHAT.pass), devices })), out: sink(0) });
  expect(portOf(passed, 'out').txPackets).toBe(1000);
  // What it says but PASS is a drop: it cannot send on.
  for (const device of [WHAT.drop, WHAT.back, WHAT.abort, WHAT.toIndex].map((what) => choice(what, 2))) {
    const last = await run(1, { in: generator(program(here, { device, devices })), out: sink(0) });
    expect(portOf(last, 'out').txPackets).toBe(0);
    expect(last.drops).toEqual({ xdp: 1000 });
  }
});

test('the program of a CPU map runs where the packet arrives, and what it redirects passes a device map too', async () => {
  for (const lcore of [0, 1]) {
    const cpus = { [lcore]: { qsize: 192, program: 'at_cpu' } };
    const ports = (cpu: Choice, more: object = {}): Record<string, object> => ({
      in: generator(program(choice(WHAT.toCpu, lcore), { cpu, cpus, ...more })),
      out: sink(1),
    });
    expect(portOf(await run(2, ports(choice(WHAT.pass))), 'out').txPackets).toBe(1000);
    expect((await run(2, ports(choice(WHAT.drop)))).drops).toEqual({ xdp: 1000 });
    expect((await run(2, ports(choice(WHAT.abort)))).drops).toEqual({ 'xdp-aborted': 1000 });
    // Not on to another lcore.
    expect((await run(2, ports(choice(WHAT.toCpu, lcore)))).drops).toEqual({ 'xdp-redirect': 1000 });
    expect(portOf(await run(2, ports(choice(WHAT.toIndex, 2))), 'out').txPackets).toBe(1000);
    const devices = { 0: { ifindex: 'port:out', program: 'at_device' } };
    const dropped = ports(choice(WHAT.toDevice), { devices, device: choice(WHAT.drop) });
    expect((await run(2, dropped)).drops).toEqual({ xdp: 1000 });
  }
});

test('packets of several buffers pass by no program of a map that does not take them', async () => {
  const long = { size: 4000, limit: 100 };
  const frags = (maps: Parameters<typeof program>[1], here: Choice): object => ({
    ...program(here, maps),
    program: 'several',
  });
  const at = (name: string): Record<string, unknown> => ({
    devices: { 0: { ifindex: 'port:out', program: `at_device${name}` } },
    cpus: { 0: { qsize: 192, program: `at_cpu${name}` } },
    device: choice(WHAT.pass),
    cpu: choice(WHAT.pass),
  });
  for (const here of [choice(WHAT.toDevice), choice(WHAT.toCpu)]) {
    const refused = await run(1, { in: generator(frags(at(''), here), long), out: sink(0) });
    expect(refused.drops).toEqual({ 'xdp-frags': 100 });
    const taken = await run(1, { in: generator(frags(at('_frags'), here), long), out: sink(0) });
    expect(portOf(taken, 'out').txPackets).toBe(100);
  }
});

test('what was to be looked at by a program that is gone is dropped', async () => {
  const xdp = program(choice(WHAT.toDevice), { devices: { 0: { ifindex: 'port:out', program: 999 } } });
  const devices = await run(1, { in: generator(xdp), out: sink(0) });
  expect(devices.drops).toEqual({ 'xdp-redirect': 1000 });
  const cpus = program(choice(WHAT.toCpu, 1), { cpus: { 1: { qsize: 192, program: 999 } } });
  expect((await run(2, { in: generator(cpus), out: sink(0) })).drops).toEqual({ 'xdp-redirect': 1000 });
});

test('a port that is deleted leaves the maps that lead to it, and a new one begins at 0', async () => {
  const xdp = program(choice(WHAT.toDevice), {
    devices: { 0: 'port:near', 1: 'port:far' },
    sockets: { 0: 'port:near' },
  });
  const last = await run(
    1,
    {
      in: generator(xdp),
      near: sink(0),
      far: sink(0),
      other: generator({ ...program(choice(WHAT.drop)), object: second }),
    },
    async (bench) => {
      bench.poll(20);
      expect(bench.snapshot().ports.find(({ name }) => name === 'other')?.xdp?.drop).toBeGreaterThan(0);
      await bench.deletePort('near');
      expect(bench.xdp.dumpMap('first/devices')).toEqual([{ key: 1, value: { ifindex: 3, program: 0 } }]);
      expect(bench.xdp.dumpMap('first/sockets')).toEqual([]);
      await bench.deletePort('other');
      // In the places of those two.
      await bench.addPort('next', { ...sink(0), xdp: { ...program(choice(WHAT.pass)), object: second } });
      await bench.addPort('last', sink(0));
      expect(bench.snapshot().ports.find(({ name }) => name === 'next')?.xdp).toMatchObject({ drop: 0, pass: 0 });
    },
  );
  expect(portOf(last, 'next').txPackets + portOf(last, 'last').txPackets).toBe(0);
  // A device that is not in its map any more stands for XDP_PASS there.
  expect(portOf(last, 'in').xdp?.pass).toBeGreaterThan(0);
});

test('a program at a port that never receives does nothing', async () => {
  const last = await run(1, { in: generator(undefined), out: { ...sink(0), xdp: program(choice(WHAT.drop)) } });
  expect(last.drops).toEqual({});
  expect(portOf(last, 'out')).toMatchObject({ txPackets: 1000, xdp: { program: 'one', drop: 0, pass: 0 } });
});

test('names in maps that are none, or of programs that they do not take, are refused with the place', async () => {
  const refused = async (maps: object): Promise<string> => {
    const bench = new MachineBench(
      { version: 1, ports: { in: generator({ object: first, program: 'one', maps }), out: sink(0) } },
      new Random(1),
    );
    return bench.start().then(
      () => 'taken',
      (error) => error.message,
    );
  };
  expect(await refused({ devices: { 0: { ifindex: 'port:ot' } } })).toMatch(
    /map devices: value\.ifindex: port:ot: there is no port "ot"/,
  );
  expect(await refused({ devices: { 0: { ifindex: 1, program: 'nope' } } })).toMatch(
    /no program "nope"; there are: one, several/,
  );
  expect(await refused({ devices: { 0: { ifindex: 1, program: 'at_cpu' } } })).toMatch(
    /map devices: at_cpu is in section xdp\/cpumap; a DEVMAP takes programs of section xdp\/devmap/,
  );
  expect(await refused({ cpus: { 0: { qsize: 1, program: 'one' } } })).toMatch(
    /a CPUMAP takes programs of section xdp\/cpumap/,
  );
  expect(await refused({ calls: { 0: 'at_cpu' } })).toMatch(/a PROG_ARRAY takes programs of section xdp$/);
  expect(await refused({ calls: { 0: 'several' } })).toBe('taken');
});

test('a program sees how long packets are, in one buffer and in several, and reads all of them', async () => {
  for (const size of [64, 1500, 4000]) {
    // Drops what has another length, or a last byte that it cannot read.
    const source = `
      mov %r6, %r1
      call xdp_get_buff_len
      jne %r0, ${size}, drop
      mov %r1, %r6
      mov %r2, ${size - 8}
      mov %r3, %r10
      add %r3, -8
      mov %r4, 8
      call xdp_load_bytes
      jne %r0, 0, drop
      mov %r1, %r6
      mov %r2, ${size - 7}
      mov %r3, %r10
      add %r3, -8
      mov %r4, 8
      call xdp_load_bytes
      jeq %r0, 0, drop
      mov %r0, 2
      exit
    drop:
      mov %r0, 1
      exit`;
    writeFileSync(folder.path('length.o'), writeObject('length', source, { section: 'xdp.frags' }));
    const last = await run(1, { in: generator(folder.path('length.o'), { size }), out: sink(0) });
    expect(portOf(last, 'in').xdp).toMatchObject({ pass: 1000, drop: 0 });
  }
});

test('tails are cut from and added to packets, in one buffer and in several', async () => {
  const cases = [
    [64, -10, 54],
    [64, 100, 164],
    [4000, -3000, 1000],
    [4000, -1500, 2500],
    [4000, 50, 4050],
  ] as const;
  for (const [size, argument, expected] of cases) {
    const path = folder.path(`tail-${size}-${argument}.pcap`);
    const xdp = { ...program(choice(WHAT.tail, argument)), program: 'several' };
    // TX leads back: into a file.
    const input = folder.path(`in-${size}.pcap`);
    const writer = new CaptureWriter(input);
    for (let i = 0; i < 40; i++) writer.write(new Uint8Array(size).fill(i), { seconds: 1, nanoseconds: i });
    writer.close();
    const last = await run(1, { in: { type: 'capture', path: input, write: path, xdp }, out: sink(0) });
    expect(last.drops).toEqual({});
    const frames = Array.from(readCapture(path), ({ frame }) => frame);
    expect(frames).toHaveLength(40);
    for (const [index, frame] of frames.entries()) {
      const wanted = new Uint8Array(expected).fill(index, 0, Math.min(size, expected));
      expect(Buffer.compare(frame, wanted)).toBe(0);
    }
  }
});
