import { buildFrame } from 'ringway/packet';
import { loadXdp } from 'ringway/xdp';
import { expect, test } from 'vitest';
import { flameGraph } from '#build/xdp/trace/flame.js';
import { foldedStacks, Profiler } from '#build/xdp/trace/profile.js';
import { wellFormed } from '../support/markup.ts';

const fixture = (name: string): string => new URL(`../../bpf/object/fixtures/${name}.o`, import.meta.url).pathname;
const example = (name: string): string => new URL(`../../../examples/xdp/${name}.o`, import.meta.url).pathname;

/** A profile of some runs of a program, by a clock of which each look takes a microsecond. */
async function profile(object: string, runs: number, prog?: string) {
  let [now, steps] = [0, 0];
  const profiler = new Profiler(() => {
    now += 0.001;
    return now;
  });
  const onStep: Profiler['onStep'] = (step) => {
    steps++;
    profiler.onStep(step);
  };
  const program = await loadXdp(object, { engine: 'interpreter', onStep, ...(prog === undefined ? {} : { prog }) });
  profiler.add(program, object);
  const frame = buildFrame({
    ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
    ipv4: { source: '10.0.0.1', destination: '10.0.0.2' },
    udp: { sourcePort: 1, destinationPort: 2 },
  });
  for (let run = 0; run < runs; run++) program.run(frame);
  return { profiler, steps };
}

test('lines have all instructions, and the time between each and the next of the same run', async () => {
  const { profiler, steps } = await profile(example('drop-list'), 3);
  const lines = profiler.lines();
  expect(lines.reduce((sum, { instructions }) => sum + instructions, 0)).toBe(steps);
  // A look at the clock each; the last instruction of a run has no next one.
  expect(lines.reduce((sum, { ns }) => sum + ns, 0)).toBeCloseTo((steps - 3) * 1000, 3);
  expect(lines[0]?.instructions).toBeGreaterThanOrEqual(lines[1]?.instructions ?? 0);
  expect(lines.find(({ place }) => place === 'examples/xdp/drop-list.c:41')).toMatchObject({
    instructions: 3,
    text: 'struct prefix4 key = { .prefixlen = 32 };',
  });
});

test('functions that call each other are stacks', async () => {
  const { profiler, steps } = await profile(fixture('calls'), 2, 'first');
  const folded = foldedStacks(profiler.roots);
  const total = folded.reduce((sum, line) => sum + Number(/ (\d+)$/.exec(line)?.[1]), 0);
  expect(total).toBe(steps);
  expect(folded.every((line) => /^(\w+;)+[^ ;]+:\d+ \d+$/.test(line))).toBe(true);
  const stacks = new Set(folded.map((line) => line.replace(/;[^;]*$/, '')));
  expect(stacks.size).toBeGreaterThan(2);
  expect(Math.max(...[...stacks].map((stack) => stack.split(';').length))).toBeGreaterThan(1);
});

test('what a program goes on in by a tail call stands beside it', async () => {
  const { profiler } = await profile(example('parser'), 1, 'xdp_parser');
  expect(profiler.roots.map(({ name }) => name)).toEqual(['xdp_parser', 'xdp_ipv4', 'xdp_udp']);
});

test('a flame graph is well-formed, and its boxes lie in it and above those that called them', async () => {
  const { profiler } = await profile(fixture('calls'), 2, 'first');
  const svg = flameGraph(profiler.roots);
  wellFormed(svg);
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  const [width = 0, height = 0] = (svg.match(/viewBox="0 0 (\d+) (\d+)"/) ?? []).slice(1).map(Number);
  const boxes = [...svg.matchAll(/<rect x="([\d.]+)" y="(\d+)" width="([\d.]+)" height="(\d+)"/g)].map((match) =>
    match.slice(1).map(Number),
  );
  expect(boxes.length).toBeGreaterThan(5);
  for (const [x = -1, y = -1, w = -1, h = -1] of boxes) {
    expect(x >= 0 && x + w <= width && y >= 0 && y + h <= height).toBe(true);
  }
  for (const name of profiler.roots.map((root) => root.name)) expect(svg).toContain(`<title>${name} (`);
});

test('a graph of nothing is a graph', () => {
  wellFormed(flameGraph([]));
});
