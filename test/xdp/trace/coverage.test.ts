import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { loadXdp } from 'ringway/xdp';
import { expect, test } from 'vitest';
import { loadXdpSpec } from '#build/config/index.js';
import { runSpec } from '#build/xdp/spec/run-spec.js';
import { ExecutionCounts } from '#build/xdp/trace/counts.js';
import { coverageOf, type FileCoverage, totalOf } from '#build/xdp/trace/coverage.js';
import { coveragePage } from '#build/xdp/trace/coverage-page.js';
import { formatLcov } from '#build/xdp/trace/lcov.js';
import { wellFormed } from '../support/markup.ts';

const SPECS = readdirSync('examples/xdp').filter((name) => name.endsWith('.test.yaml'));
const spec = (name: string): string => resolve('examples/xdp', name);

/** What the tests of an example run, and how many instructions. */
async function covered(name: string): Promise<{ files: FileCoverage[]; counts: ExecutionCounts; steps: number }> {
  const counts = new ExecutionCounts();
  let steps = 0;
  const onStep: ExecutionCounts['onStep'] = (step) => {
    steps++;
    counts.onStep(step);
  };
  const options = { load: { engine: 'interpreter', onStep } as const, onLoad: counts.add.bind(counts) };
  for await (const { failures } of runSpec(loadXdpSpec(spec(name)), options)) expect(failures).toEqual([]);
  return { files: coverageOf(counts), counts, steps };
}

test('every example has a spec', () => {
  const objects = readdirSync('examples/xdp').filter((name) => name.endsWith('.o'));
  expect(SPECS).toEqual(objects.map((name) => name.replace(/o$/, 'test.yaml')));
});

test.each(SPECS)('all lines of the example run in %s, and passed in both engines', async (name) => {
  const { files } = await covered(name);
  const missed = files.flatMap(({ path, lines }) =>
    lines.filter(({ runs }) => runs === 0).map(({ line }) => `${path}:${line}`),
  );
  expect(missed).toEqual([]);
  expect(totalOf(files).lines[1]).toBeGreaterThan(5);
  for await (const { failures } of runSpec(loadXdpSpec(spec(name)))) expect(failures).toEqual([]);
});

test('each instruction that runs is counted, and each jump went one way or the other', async () => {
  const { counts, steps } = await covered('parser.test.yaml');
  expect(counts.programs.length).toBe(5);
  expect(counts.programs.flatMap(({ runs }) => [...runs]).reduce((sum, count) => sum + count, 0)).toBe(steps);
  for (const { runs, jumps } of counts.programs) {
    for (const [pc, count] of jumps.entries()) expect(count <= (runs[pc] ?? 0)).toBe(true);
  }
});

test('a program that never runs is seen not to have', async () => {
  const counts = new ExecutionCounts();
  const object = resolve('examples/xdp/vlan.o');
  const program = await loadXdp(object, { prog: 'xdp_vlan_pop', engine: 'interpreter', onStep: counts.onStep });
  counts.add(program, object);
  for (let run = 0; run < 3; run++) program.run(new Uint8Array(14));
  const [file] = coverageOf(counts);
  expect(file?.path).toBe('examples/xdp/vlan.c');
  expect(file?.functions.map(({ name, runs }) => [name, runs])).toEqual([
    ['xdp_vlan_push', 0],
    ['xdp_vlan_pop', 3],
  ]);
  const at = (text: string) => file?.lines.find((line) => line.text.includes(text));
  expect(at('tag->tci')?.runs).toBe(0);
  expect(at('if (!eth || !tag ||')).toMatchObject({
    runs: 3,
    branches: expect.arrayContaining([{ jumped: 3, passed: 0 }]),
  });
  expect(at('copy.h_proto = tag->type')?.runs).toBe(0);
});

test('an object that is loaded twice is one', async () => {
  const counts = new ExecutionCounts();
  const object = resolve('examples/xdp/l2-forward.o');
  for (let time = 0; time < 2; time++) {
    const program = await loadXdp(object, { engine: 'interpreter', onStep: counts.onStep });
    counts.add(program, object);
    program.run(new Uint8Array(14));
  }
  expect(coverageOf(counts)[0]?.functions).toEqual([{ name: 'xdp_l2_forward', line: expect.any(Number), runs: 2 }]);
});

const FILES: FileCoverage[] = [
  {
    path: 'no/such <file>.c',
    functions: [{ name: 'main', line: 3, runs: 2 }],
    lines: [
      { line: 3, text: 'int main()', runs: 2, branches: [] },
      {
        line: 4,
        text: 'if (a < b && "c")',
        runs: 2,
        branches: [
          { jumped: 2, passed: 0 },
          { jumped: 0, passed: 0 },
        ],
      },
      { line: 9, text: 'gone', runs: 0, branches: [] },
    ],
  },
];

test('lcov', () => {
  expect(formatLcov(FILES)).toBe(`TN:
SF:no/such <file>.c
FN:3,main
FNDA:2,main
FNF:1
FNH:1
BRDA:4,0,0,2
BRDA:4,0,1,0
BRDA:4,1,0,-
BRDA:4,1,1,-
BRF:4
BRH:1
DA:3,2
DA:4,2
DA:9,0
LF:3
LH:2
end_of_record
`);
});

test('the page has the lines that the object knows when there is no source, and escapes them', () => {
  const page = coveragePage(FILES);
  expect(page).toContain(
    '<tr class="part"><td>4</td><td>2</td><td title="ways that branches went">1/4</td><td>if (a &lt; b &amp;&amp; &quot;c&quot;)</td></tr>',
  );
  expect(page).toContain('<tr class="not"><td>9</td>');
  expect(page).toContain('<td>66.7 % (2/3)</td><td>25.0 % (1/4)</td><td>100.0 % (1/1)</td>');
  expect(page.match(/<tr class=/g)?.length).toBe(3);
  wellFormed(page.replace('<!DOCTYPE html>', '').replaceAll(/<meta[^>]*>/g, ''));
});

test('the page has the whole source when it is there', async () => {
  const { files } = await covered('drop-list.test.yaml');
  const page = coveragePage(files);
  expect(page).toMatch(/<tr class="ran"><td>41<\/td><td>3<\/td><td><\/td><td>\tstruct prefix4 key/);
  expect(page).toContain('<td>/* 0: passed, 1: dropped. */</td>');
});
