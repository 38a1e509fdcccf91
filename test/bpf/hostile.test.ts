import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { CTX_STACK, FAULT_MEMORY, FRAME_BYTES, MAP_VALUES } from '#build/bpf/layout.js';
import { compiledEngine } from './support/differential.ts';
import { DEFINITIONS, MAPS } from './support/fixture.ts';
import { HostilePair } from './support/hostile.ts';
import { World } from './support/world.ts';

const packet = Uint8Array.from({ length: 64 }, (_, index) => index);

/** Programs that went wrong once, in some engine. */
test.each([
  ['nothing is stored from a wild address', 'mov %r2, 4\nmov32 %r3, -16\nmov %r4, 0\ncall xdp_store_bytes'],
  ['nothing is loaded to a wild address', 'mov %r2, 4\nmov32 %r3, -16\nmov %r4, 0\ncall xdp_load_bytes'],
  [
    'an event of nothing comes from a wild address',
    `lddw %r2, map ${MAPS.perf}\nlddw %r3, 0xffffffff\nmov32 %r4, -16\nmov %r5, 0\ncall perf_event_output`,
  ],
  [
    'a record of nothing comes from a wild address',
    `lddw %r1, map ${MAPS.ring}\nmov32 %r2, -16\nmov %r3, 0\nmov %r4, 0\ncall ringbuf_output`,
  ],
  ['sums of nothing', 'mov32 %r1, -16\nmov %r2, 0\nmov32 %r3, -16\nmov %r4, 0\nmov %r5, 1\ncall csum_diff'],
  ['a text of nothing', 'mov32 %r1, -16\nmov %r2, 0\ncall trace_printk'],
  [
    'a text of nothing, and nothing in it',
    'mov32 %r1, -16\nmov %r2, 0\nmov32 %r3, -16\nmov %r4, 0\ncall trace_vprintk',
  ],
  ['no route', 'mov32 %r2, -16\nmov %r3, 0\nmov %r4, 0\ncall fib_lookup'],
  ['a tail call by an array of numbers', `lddw %r2, map ${MAPS.array}\nmov %r3, 1\ncall tail_call`],
  ['nothing is read where programs are kept', `lddw %r1, value ${MAPS.programs} + 0\nldxw %r0, [%r1]`],
  ['nothing is written where programs are kept', `lddw %r1, value ${MAPS.programs} + 0\nstw [%r1], 7`],
  [
    'what may be in the packet may be elsewhere too after the packet was moved',
    'mov %r6, %r1\nl: mov %r2, 0\ncall xdp_adjust_meta\nldxw %r6, [%r6+8]\nmov %r1, %r6\nja l',
  ],
  [
    'an address at one of several places of a value is not at the first once it is held against null',
    `stw [%r10-4], 3\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, map ${MAPS.array}\ncall 1\njeq %r0, 0, out
      ldxb %r1, [%r0]\nand %r1, 8\nadd %r0, %r1\njeq %r0, 0, out\nldxdw %r0, [%r0+8]\nout: exit`,
  ],
  ['a tail call by what is no map', 'mov %r2, %r10\nmov %r3, 1\ncall tail_call'],
])('%s', (_, text) => {
  const program = programOf(assemble(`${text}\nexit`), 'program', DEFINITIONS);
  expect(new HostilePair().run(program, packet)).toBeUndefined();
});

test('a tail call too deep in functions ends both', () => {
  const functions = Array.from({ length: 7 }, (_, index) =>
    index < 6
      ? `f${index}: call local f${index + 1}\nexit`
      : `f${index}: lddw %r2, map ${MAPS.programs}\nmov %r3, 2\ncall tail_call\nexit`,
  );
  const program = programOf(assemble(`call local f0\nexit\n${functions.join('\n')}`), 'program', DEFINITIONS);
  const pair = new HostilePair();
  expect(pair.run(program, packet)).toBeUndefined();
  expect([...pair.faults.keys()]).toEqual([5]);
});

test('no store goes to the stack by way of a map that takes none', () => {
  const world = new World(1);
  const values = world.arena.u32[((world.maps[MAPS.programs]?.address ?? 0) + MAP_VALUES) >>> 2] ?? 0;
  const top = world.context + CTX_STACK + FRAME_BYTES;
  const text = `lddw %r1, value ${MAPS.programs} + 0\nadd %r1, ${top - 8 - values}\nstxdw [%r1], %r10\nexit`;
  const engine = compiledEngine(world, { checked: true });
  const { fault } = engine.load(programOf(assemble(text), 'program', DEFINITIONS)).run(packet);
  expect(fault).toMatchObject({ kind: FAULT_MEMORY, pc: 3, address: BigInt(top - 8) });
});

test('a function is not told by a stale argument of a helper where the stack of its caller is', () => {
  const text = `stdw [%r10-72], 7\nmov %r1, %r10\nadd %r1, -88\nmov %r2, 0\ncall redirect\ncall local f\nexit
    f: ldxdw %r0, [%r1+16]\nexit`;
  const program = programOf(assemble(text), 'program', DEFINITIONS);
  const pair = new HostilePair();
  expect(pair.run(program, packet)).toBeUndefined();
  expect([...pair.faults.keys()]).toEqual([FAULT_MEMORY]);
});
