import { expect, test } from 'vitest';
import { verifyStructure } from '#build/bpf/verify.js';
import { Random } from '#build/util/random.js';
import { allForms, Coverage } from './support/coverage.ts';
import { interpreterEngine } from './support/differential.ts';
import { generatePacket, generateValid } from './support/generate-valid.ts';
import { FIRST_SEED, makeEngines, sweepValid } from './support/sweep.ts';
import { World } from './support/world.ts';

/** All of them; more or fewer with RINGWAY_PROGRAMS. */
const PROGRAMS = Number(process.env.RINGWAY_PROGRAMS ?? 100_000);
const PARTS = 5;

test.each(Array.from({ length: PARTS }, (_, part) => part + 1))(
  `interpreter, compiled code and kernel do the same with ${PROGRAMS} random programs, part %i of ${PARTS}`,
  (part) => {
    const { interpreter, compiled, kernel } = makeEngines();
    const count = Math.ceil(PROGRAMS / PARTS);
    expect(sweepValid([interpreter, ...kernel, ...compiled], FIRST_SEED + 1000 + (part - 1) * count, count)).toEqual(
      [],
    );
  },
);

test('what 5,000 of them run is printed, and nothing is left out', () => {
  const coverage = new Coverage();
  const engine = interpreterEngine(new World(2), { onStep: coverage.note });
  for (let seed = FIRST_SEED + 1000; seed < FIRST_SEED + 6000; seed++) {
    const random = new Random(seed);
    const program = generateValid(random);
    verifyStructure(program);
    engine.load(program).run(generatePacket(random));
  }
  const forms = allForms();
  const reached = forms.filter((form) => coverage.counts.has(form));
  const helpers = (list: readonly string[]): number => list.filter((form) => form.startsWith('helper')).length;
  const rarest = reached.toSorted((a, b) => (coverage.counts.get(a) ?? 0) - (coverage.counts.get(b) ?? 0)).slice(0, 5);
  console.log(
    `${reached.length} of ${forms.length} forms of instructions, ${helpers(reached)} of ${helpers(forms)} helpers among them;`,
    `the rarest: ${rarest.map((form) => `${form} ${coverage.counts.get(form)} times`).join(', ')}`,
  );
  expect(coverage.missing(forms)).toEqual([]);
});
