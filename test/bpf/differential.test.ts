import { expect, test } from 'vitest';
import { OP_EXIT } from '#build/bpf/instruction.js';
import { interpret } from '#build/bpf/interpreter.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { Random } from '#build/util/random.js';
import { allForms, Coverage } from './support/coverage.ts';
import { compareEngines, type Engine, interpreterEngine, worldEngine } from './support/differential.ts';
import { MAPS } from './support/fixture.ts';
import { generatePacket, generateValid } from './support/generate-valid.ts';
import { HostilePair } from './support/hostile.ts';
import { FIRST_SEED, makeEngines, sweepHostile, sweepValid } from './support/sweep.ts';
import { World } from './support/world.ts';

test('interpreter, compiled code and kernel do the same with random programs', () => {
  const { interpreter, compiled, kernel } = makeEngines();
  expect(sweepValid([interpreter, ...kernel, ...compiled], FIRST_SEED, 50)).toEqual([]);
});

test('random programs run every instruction and every helper', () => {
  const coverage = new Coverage();
  const engine = interpreterEngine(new World(2), { onStep: coverage.note });
  for (let seed = FIRST_SEED; seed < FIRST_SEED + 600; seed++) {
    const random = new Random(seed);
    const program = generateValid(random);
    verifyStructure(program);
    engine.load(program).run(generatePacket(random));
  }
  const forms = allForms();
  expect(forms).toHaveLength(new Set(forms).size);
  expect([...coverage.counts.keys()].filter((form) => !forms.includes(form))).toEqual([]);
  expect(coverage.missing(forms), `with RINGWAY_SEED=${FIRST_SEED}`).toEqual([]);
});

test('one seed gives one program', () => {
  expect(generateValid(new Random(9))).toEqual(generateValid(new Random(9)));
  expect(generateValid(new Random(9))).not.toEqual(generateValid(new Random(10)));
});

test('checked code ends hostile programs as the interpreter does, and leaves the same memory', () => {
  const pair = new HostilePair();
  expect(sweepHostile(pair, FIRST_SEED, 150)).toEqual([]);
  // Some end well, some by each fault but that of the stack, which takes more calls than they have.
  expect([...pair.faults.keys()].sort()).toEqual([0, 1, 2, 3, 4, 6, 7]);
  expect(pair.totalSteps / 150).toBeGreaterThan(50);
});

// ---------------------------------------------------------------- faults that are planted are found

/** The interpreter with something wrong: `spoil` runs behind it. */
function spoiled(spoil: (world: World) => bigint): Engine {
  const world = new World(2);
  return worldEngine('spoiled', world, (program) => () => {
    const { r0 } = interpret({ program, ...world.execution() });
    return r0 + spoil(world);
  });
}

const flip = (world: World, address: number): bigint => {
  world.arena.u8[address] = (world.arena.u8[address] ?? 0) ^ 1;
  return 0n;
};

test.each<[string, (world: World) => bigint, RegExp]>([
  ['r0', () => 1n, /^interpreter and spoiled differ\nr0: /],
  ['packet', (world) => flip(world, world.dataEnd - 1), /^interpreter and spoiled differ\npacket: /],
  ['value in a map', (world) => flip(world, world.valueAddress(MAPS.global)), /differ\nonly the first has 3 00000000/],
])('a wrong %s is seen', (_, spoil, said) => {
  const engines = [interpreterEngine(new World(2)), spoiled(spoil)];
  const random = new Random(FIRST_SEED);
  const program = { ...generateValid(random), code: globalCode };
  expect(compareEngines(engines, program, [generatePacket(random)])).toMatch(said);
});

/** `r1 = the value of the global map; r0 = 1; exit`: enough for the map to be looked at. */
const globalCode = [
  { opcode: 0x18, dst: 1, src: 6, offset: 0, imm: MAPS.global },
  { opcode: 0, dst: 0, src: 0, offset: 0, imm: 0 },
  { opcode: 0xb7, dst: 0, src: 0, offset: 0, imm: 1 },
  { opcode: OP_EXIT, dst: 0, src: 0, offset: 0, imm: 0 },
];

test('a refusal says who refuses what', () => {
  const refusing: Engine = {
    name: 'choosy',
    load: () => {
      throw new Error('not that one');
    },
  };
  const program = generateValid(new Random(1));
  const said = compareEngines([refusing], program, []);
  expect(said).toMatch(/^choosy refuses the program: not that one\ngenerated:\n +0: r6 = r1/);
});

test.each<[string, (world: World) => bigint, RegExp]>([
  ['r0', () => 1n, /r0 \d+; compiled \d+/],
  ['byte of a value', (world) => flip(world, world.valueAddress(MAPS.array) + 3), /memory: bpf map 3 \+ \d+: /],
  ['byte between regions', (world) => flip(world, world.context + 4352), /compiled code wrote between regions/],
])('a wrong %s of a hostile program is seen', (_, spoil, said) => {
  const pair = new HostilePair((world) =>
    worldEngine('spoiled', world, (program) => () => {
      const { r0 } = interpret({ program, ...world.execution(), checked: true, fuel: 2000 });
      return r0 + spoil(world);
    }),
  );
  const failures = sweepHostile(pair, FIRST_SEED, 5);
  expect(failures.length).toBeGreaterThan(0);
  expect(failures.join('\n')).toMatch(said);
});
