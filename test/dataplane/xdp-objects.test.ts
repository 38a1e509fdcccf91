import { copyFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { effort } from '../support/effort.ts';
import { MachineBench, problemsAtEnd } from '../support/machine-bench.ts';
import { testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

function copy(fixture: string, name: string): string {
  copyFileSync(new URL(`../bpf/object/fixtures/${fixture}.o`, import.meta.url), folder.path(`${name}.o`));
  return folder.path(`${name}.o`);
}
const [first, second] = [copy('pinned', 'first'), copy('pinned', 'second')];
const entry = (object: string): object => ({ object, program: 'entry' });

async function begin(): Promise<MachineBench> {
  const generator = { type: 'generator', flows: 4 };
  const bench = new MachineBench(
    { version: 1, lcores: 2, ports: { a: generator, b: generator, out: { type: 'null' } } },
    new Random(1),
  );
  await bench.start();
  return bench;
}

async function end(bench: MachineBench): Promise<void> {
  const last = await bench.stop(1000);
  expect(problemsAtEnd(last, bench.machine)).toEqual([]);
}

/** Regions of the arena that XDP objects have. */
const regionsOf = ({ machine }: MachineBench): string[] =>
  machine.arena
    .regions()
    .map(({ name }) => name)
    .filter((name) => /^xdp \d+ /.test(name));

test('what a pinned map holds of an object goes with the object, and others run on', async () => {
  const bench = await begin();
  await bench.attach('a', entry(first));
  await bench.attach('b', entry(second));
  const numberOf = (port: number): number => bench.xdp.programAt(port)?.wire.number ?? 0;
  bench.xdp.updateMap('shared_devices', 0, { ifindex: 'port:out' });
  bench.xdp.updateMap('shared_devices', 1, { ifindex: 'port:out', program: String(numberOf(1) + 1) });
  bench.poll(20);
  // The last one to come is in the maps that both have.
  expect(bench.xdp.dumpMap('shared_maps')).toHaveLength(1);
  expect(bench.xdp.dumpMap('shared_calls')).toEqual([{ key: 0, value: numberOf(1) - 1 }]);
  expect(bench.xdp.dumpMap('second/own')).toMatchObject([{ key: 0 }]);
  expect((bench.xdp.dumpMap('second/own')[0] as { value: number }).value).toBeGreaterThan(0);
  // Both programs count there now, and may.
  const counted = bench.xdp.dumpMap('first/own');
  bench.poll(20);
  expect(bench.xdp.dumpMap('first/own')).toEqual(counted);
  expect(bench.snapshot().drops['xdp-aborted']).toBeUndefined();
  await bench.xdp.detach('b');
  expect(bench.xdp.dumpMap('shared_maps')).toEqual([]);
  expect(bench.xdp.dumpMap('shared_calls')).toEqual([]);
  expect(bench.xdp.dumpMap('shared_devices')).toEqual([{ key: 0, value: { ifindex: 3, program: 0 } }]);
  const before = bench.snapshot().ports[0]?.xdp;
  bench.poll(50);
  const after = bench.snapshot().ports[0]?.xdp;
  expect(after?.redirect).toBeGreaterThan(before?.redirect ?? 0);
  expect(after?.drop).toBe(before?.drop);
  await end(bench);
});

test('an object is loaded once for all ports, and its memory is given back when the last one leaves it', async () => {
  const bench = await begin();
  await bench.attach('a', entry(first));
  const once = regionsOf(bench).length;
  await bench.attach('b', entry(first));
  expect(regionsOf(bench)).toHaveLength(once);
  bench.poll(10);
  await bench.xdp.detach('a');
  expect(regionsOf(bench)).toHaveLength(once);
  await bench.xdp.detach('b');
  // What is pinned stays.
  expect(regionsOf(bench).map((name) => name.split(' ').slice(2, 4).join(' '))).toEqual([
    'map shared_maps',
    'map shared_calls',
    'map shared_devices',
  ]);
  // Checked and trusted code are two.
  await bench.attach('a', entry(second));
  const one = regionsOf(bench).length;
  await bench.attach('b', { ...entry(second), trusted: true });
  expect(regionsOf(bench).length).toBeGreaterThan(one);
  expect(bench.xdp.list().map(({ object }) => object)).toEqual(['second', 'second-2']);
  await end(bench);
});

test('an object that does not load leaves neither memory nor numbers taken', async () => {
  const broken = copy('broken', 'broken');
  const bench = await begin();
  await bench.attach('a', entry(first));
  const before = regionsOf(bench);
  // In the deep suite more often than there are numbers.
  for (let tries = 0; tries < effort(100, 1100); tries++) {
    await expect(bench.attach('a', entry(broken))).rejects.toThrow(/get_current_comm/);
  }
  expect(regionsOf(bench)).toEqual(before);
  expect(bench.xdp.list()).toMatchObject([{ port: 'a', object: 'first' }]);
  await bench.attach('a', entry(second));
  expect(bench.xdp.list()).toMatchObject([{ port: 'a', object: 'second' }]);
  await end(bench);
});

test('a program is replaced time and again, in no more memory', async () => {
  const bench = await begin();
  const objects = [first, second];
  for (let tries = 0; tries < 20; tries++) await bench.attach('a', entry(objects[tries % 2] ?? first));
  const before = regionsOf(bench).length;
  for (let tries = 0; tries < effort(60, 400); tries++) await bench.attach('a', entry(objects[tries % 2] ?? first));
  expect(regionsOf(bench)).toHaveLength(before);
  await end(bench);
});
