import { MAPS } from '../../support/fixture.ts';
import { type Case, testCase } from './case.ts';

/** Calls `round` so often, with the address of 16 bytes that are 0 as its data. */
const loop = (rounds: string): string => `
  stdw [%r10-8], 0
  stdw [%r10-16], 0
  mov %r1, ${rounds}
  lddw %r2, function round
  mov %r3, %r10
  add %r3, -16
  mov %r4, 0
  call 181`;
/** Goes through a map, with the same. */
const each = (map: number): string =>
  loop('0').replace('mov %r1, 0', `lddw %r1, map ${map}`).replace('call 181', 'call 164');
const END = 'out: mov %r0, 2\nexit\nround:';

/** bpf_loop and what it calls. */
export const LOOP_CASES: readonly Case[] = [
  testCase(
    'what a round returns',
    'call',
    (mend) => `${loop('4')}\n${END} mov %r0, %r1\n${mend('and %r0, 1\n', '')}exit`,
  ),
  testCase(
    'a round that counts in the data reaches no further than is known',
    'stack-bounds',
    (mend) => `${loop('1000')}
      ldxdw %r1, [%r10-16]
      ${mend('and %r1, 7', 'and %r1, 15')}
      mov %r2, %r10
      add %r2, -8
      add %r2, %r1
      stb [%r2], 1
      ${END} ldxdw %r3, [%r2]
      add %r3, 1
      stxdw [%r2], %r3
      mov %r0, 0
      exit`,
  ),
  testCase(
    'the number of a round is any number to its callback',
    'unbounded-offset',
    (mend) => `${loop('4')}
      ${END} ${mend('and %r1, 7\n', '')}add %r2, %r1
      stb [%r2], 1
      mov %r0, 0
      exit`,
  ),
  testCase(
    'the data of a loop',
    'helper-argument',
    (mend) => `${loop('4').replace('mov %r3, %r10\n  add %r3, -16', mend('mov %r3, 0', 'mov %r3, %r1'))}
      ${END} mov %r0, 0\nexit`,
  ),
  testCase(
    'null is the data of a loop, and a round follows it',
    'not-a-pointer',
    (mend) => `${loop('4').replace('mov %r3, %r10\n  add %r3, -16', mend('mov %r3, %r10\nadd %r3, -16', 'mov %r3, 0'))}
      ${END} ldxdw %r0, [%r2]\nmov %r0, 0\nexit`,
  ),
  testCase(
    'a number of rounds that is none',
    'helper-argument',
    (mend) => `${loop(mend('4', '%r10'))}\n${END} mov %r0, 0\nexit`,
  ),
  testCase(
    'r1 after a loop',
    'uninitialised-register',
    (mend) => `${loop('4')}\nmov %r0, %r${mend('0', '1')}\n${END} mov %r0, 0\nexit`,
  ),
  testCase(
    'a packet pointer in the data, of which a round compares the end',
    'packet-bounds',
    (mend) => `ldxw %r6, [%r1]
      ldxw %r7, [%r1+4]
      ${loop('4').replace('stdw [%r10-8], 0\n  stdw [%r10-16], 0', 'stxdw [%r10-8], %r7\nstxdw [%r10-16], %r6')}
      ${END} ldxdw %r3, [%r2]
      ldxdw %r4, [%r2+8]
      mov %r5, %r3
      add %r5, ${mend('8', '7')}
      jgt %r5, %r4, none
      ldxdw %r5, [%r3]
      none: mov %r0, 0
      exit`,
  ),
  testCase(
    'a round that leaves a record reserved',
    'reference-leak',
    (mend) => `${loop('4')}
      ${END} lddw %r1, map ${MAPS.ring}
      mov %r2, 16
      mov %r3, 0
      call ringbuf_reserve
      jeq %r0, 0, none
      mov %r1, %r0
      mov %r2, 0
      ${mend('call ringbuf_submit', 'mov %r0, 0')}
      none: mov %r0, 0
      exit`,
  ),
  testCase(
    'a loop in a round, over the data of the outer one',
    'stack-bounds',
    (mend) => `${loop('1000')}
      ${END} mov %r3, %r2
      ${mend('', 'add %r3, 16')}
      mov %r1, 1000
      lddw %r2, function inner
      mov %r4, 0
      call 181
      mov %r0, 0
      exit
      inner: ldxdw %r3, [%r2]
      add %r3, %r1
      stxdw [%r2], %r3
      mov %r0, 0
      exit`,
  ),
  testCase(
    'a key that is told is as long as keys are',
    'map-bounds',
    (mend) => `${each(MAPS.hash)}\n${END} ldxb %r0, [%r2+${mend('3', '4')}]\nmov %r0, 0\nexit`,
  ),
  testCase(
    'a key that is told is not written',
    'access-rights',
    (mend) => `${each(MAPS.hash)}\n${END} stw [%r${mend('3', '2')}], 1\nmov %r0, 0\nexit`,
  ),
  testCase(
    'a value that is told is as long as values are',
    'map-bounds',
    (mend) => `${each(MAPS.array)}\n${END} ldxb %r0, [%r3+${mend('15', '16')}]\nmov %r0, 0\nexit`,
  ),
  testCase(
    'the data of a map that is gone through',
    'stack-bounds',
    (mend) => `${each(MAPS.cpuArray)}\n${END} ldxb %r0, [%r4+${mend('15', '16')}]\nmov %r0, 0\nexit`,
  ),
  testCase(
    'maps that can be gone through',
    'map-kind',
    (mend) => `${each(0).replace('map 0', `map ${mend(`${MAPS.cpuLru}`, `${MAPS.trie}`)}`)}\n${END} mov %r0, 0\nexit`,
  ),
  testCase(
    'what is told of an entry returns',
    'call',
    (mend) => `${each(MAPS.lru)}\n${END} ldxb %r0, [%r2]\n${mend('and %r0, 1\n', '')}exit`,
  ),
  testCase(
    'a round removes the entry that it is told of',
    'helper-argument',
    (mend) => `${each(MAPS.hash)}\n${END} ${mend('', 'mov %r1, 0\n')}call 3\nmov %r0, 0\nexit`,
  ),
  testCase(
    'a loop around a loop that has an end',
    'infinite-loop',
    (mend) => `mov %r7, 3
      again: ${loop('4')}
      ${mend('sub %r7, 1', 'add %r7, 0')}
      jgt %r7, 0, again
      ${END} mov %r0, 0\nexit`,
  ),
];
