import { afterAll, expect, test } from 'vitest';
import { disassemble } from '#build/bpf/disassemble.js';
import type { Program } from '#build/bpf/program.js';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { bpfUnavailable } from '#build/sys/index.js';
import { Random } from '#build/util/random.js';
import { closeAll, KernelProgram, kernelMaps } from '../../support/kernel-program.ts';
import { DEFINITIONS } from '../support/fixture.ts';
import { tryLoad } from '../support/kernel.ts';
import { FIRST_SEED } from '../support/sweep.ts';
import { CASES } from './cases/index.ts';
import { CONFORMANCE, DEBIAN, EXAMPLES } from './programs.ts';
import { generateDoubtful } from './soundness.ts';

const unavailable = bpfUnavailable();
if (unavailable !== undefined) console.warn(`kernel.peers.test.ts is skipped: ${unavailable}`);
const here = unavailable === undefined;
const maps = here ? kernelMaps(DEFINITIONS) : [];
afterAll(() => closeAll(maps));

/**
 * What the kernel refuses and we accept, by what its verifier says, and why that is no matter of memory. All else that it
 * refuses we refuse.
 */
const ACCEPTED_HERE: readonly (readonly [says: RegExp, why: string])[] = [
  [/div by zero/, 'RFC 9669 says what a division by 0 gives, and here it gives that'],
  [/invalid shift/, 'RFC 9669 says what a shift by more bits than there are gives, and here it gives that'],
  [
    /unknown opcode|invalid .*(insn|instruction)|BPF_\w+ uses reserved fields/,
    'an instruction of a later version than the kernel has',
  ],
  [/too complex|too large/, 'the kernel keeps fewer ways, or visits more: it gave up'],
];

/** What we refuse and the kernel accepts, by what we say, and why. All else that it accepts we accept. */
const REFUSED_HERE: readonly (readonly [says: RegExp, why: string])[] = [
  [/which is map \w+\.$/m, 'a kernel shows the fields of struct bpf_map, and here is none'],
  [/it may go round for ever\.$/m, 'a kernel takes a loop without an end when a bpf_loop is in it'],
  [/which is a socket of an XSKMAP\.$/m, 'a kernel shows the queue of a socket, and here its map is closed'],
];

/** What the kernel says of a program; undefined when it takes it. */
function refusal(program: Program): string | undefined {
  if (program.maps !== DEFINITIONS) return tryLoad(program);
  try {
    new KernelProgram(program, maps).close();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** How the two differ; undefined when they do not, or for a reason that is known. */
function difference(program: Program): string | undefined {
  const verdict = verifyProgram(program);
  const said = refusal(program);
  if (verdict.accepted === (said === undefined)) return undefined;
  const text = disassemble(program).join('\n');
  if (!verdict.accepted) {
    const { text: why } = verdict.rejection;
    const isKnown = REFUSED_HERE.some(([says]) => says.test(why));
    return isKnown ? undefined : `refused here, taken by the kernel\n${why}\n${text}`;
  }
  const known = ACCEPTED_HERE.some(([says]) => says.test(said ?? ''));
  return known ? undefined : `accepted here, refused by the kernel\n${said?.slice(-1500)}\n${text}`;
}

test.skipIf(!here).each(CASES.map((one) => [one.name, one] as const))('%s: as the kernel says', (_, { bad, good }) => {
  expect(difference(good)).toBeUndefined();
  expect(difference(bad)).toBeUndefined();
});

test.skipIf(!here).each([...EXAMPLES, ...DEBIAN])('%s: as the kernel says', (_, program) => {
  expect(difference(program)).toBeUndefined();
});

test.skipIf(!here || CONFORMANCE.length === 0)('conformance programs: as the kernel says', () => {
  const found = CONFORMANCE.flatMap(([name, program]) => {
    const one = difference(program);
    return one === undefined ? [] : [`${name}: ${one}`];
  });
  expect(found).toEqual([]);
});

const GENERATED = 600;

/**
 * Of generated ones only this is asked: the kernel also follows ways that never run (a number that is below itself, a
 * quotient of 32 bits that is negative), and refuses what it finds there. That what is accepted is right, the checked
 * interpreter says of them.
 */
test.skipIf(!here)(
  `of ${GENERATED} generated programs, half of them damaged, what the kernel takes is accepted`,
  () => {
    const found: string[] = [];
    for (let seed = FIRST_SEED; seed < FIRST_SEED + GENERATED; seed++) {
      const program = generateDoubtful(new Random(seed));
      if (program === undefined) continue;
      const verdict = verifyProgram(program);
      if (verdict.accepted || refusal(program) !== undefined) continue;
      if (REFUSED_HERE.some(([says]) => says.test(verdict.rejection.text))) continue;
      found.push(`RINGWAY_SEED=${seed}: ${verdict.rejection.text}\n${disassemble(program).join('\n')}`);
    }
    expect(found).toEqual([]);
  },
);
