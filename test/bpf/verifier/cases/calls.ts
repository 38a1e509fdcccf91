import { MAPS } from '../../support/fixture.ts';
import { type Case, found, packet, testCase } from './case.ts';

const RESERVE = `mov %r6, %r1\nlddw %r1, map ${MAPS.ring}\nmov %r2, 16\nmov %r3, 0\ncall ringbuf_reserve`;
const SUBMIT = 'mov %r1, %r7\nmov %r2, 0\ncall ringbuf_submit';
/** r7 = a record of 16 bytes. */
const RECORD = `${RESERVE}\njeq %r0, 0, out\nmov %r7, %r0`;
const KEY = 'stw [%r10-4], 1\nmov %r2, %r10\nadd %r2, -4';

/** Helpers, records, functions, loops, registers. */
export const CALL_CASES: readonly Case[] = [
  testCase(
    'a register is read that nothing was written to',
    'uninitialised-register',
    (mend) => `${mend('mov %r3, 1\n', '')}mov %r4, %r3`,
  ),
  testCase(
    'a register is added to that nothing was written to',
    'uninitialised-register',
    (mend) => `mov %r4, 1\n${mend('mov %r3, 1\n', '')}add %r3, %r4`,
  ),
  testCase(
    'r0 at the end',
    'uninitialised-register',
    (mend) => `${mend('mov %r0, 2\n', '')}ldxw %r3, [%r1+12]\nja out\nout: exit`,
  ),
  testCase(
    'r0 at the end of one of two ways',
    'uninitialised-register',
    (mend) => `ldxw %r3, [%r1+12]\n${mend('mov %r0, 1\n', '')}jeq %r3, 1, out\nmov %r0, 2\nout: exit`,
  ),
  testCase(
    'r1 after a call',
    'uninitialised-register',
    (mend) => `mov %r6, %r1\ncall ktime_get_ns\nldxw %r2, [%r${mend('6', '1')}]`,
  ),
  testCase(
    'r5 after a call',
    'uninitialised-register',
    (mend) => `mov %r5, 1\ncall get_prandom_u32\n${mend('mov %r5, 1\n', '')}mov %r0, %r5`,
  ),
  testCase(
    'a register of the caller',
    'uninitialised-register',
    (mend) => `mov %r6, 1\nmov %r1, 1\ncall local f\nout: mov %r0, 2\nexit\nf: mov %r0, %r${mend('1', '6')}\nexit`,
  ),
  testCase(
    'a register of a function',
    'uninitialised-register',
    (mend) => `call local f\nmov %r2, %r${mend('0', '1')}\nout: mov %r0, 2\nexit\nf: mov %r1, 1\nmov %r0, 1\nexit`,
  ),
  testCase(
    'a register that is stored',
    'uninitialised-register',
    (mend) => `${mend('mov %r3, 1\n', '')}stxdw [%r10-8], %r3`,
  ),
  testCase(
    'a register that is compared',
    'uninitialised-register',
    (mend) => `${mend('mov %r3, 1\n', '')}jeq %r3, 1, out`,
  ),
  testCase(
    'an address that nothing was written to',
    'uninitialised-register',
    (mend) => `${mend('mov %r3, %r10\n', '')}ldxdw %r0, [%r3-8]`,
  ),
  testCase(
    'an argument that nothing was written to',
    'uninitialised-register',
    (mend) => `mov %r1, 1\n${mend('mov %r2, 0\n', '')}call redirect`,
  ),
  testCase(
    'r0 of a comparison with exchange',
    'uninitialised-register',
    (mend) => `stdw [%r10-8], 0\nmov %r1, 1\n${mend('mov %r0, 0\n', '')}lock cmpxchg [%r10-8], %r1`,
  ),
  testCase(
    'a helper wants the context',
    'helper-argument',
    (mend) => `mov %r2, 0\n${mend('', 'mov %r1, %r10\n')}call xdp_adjust_head`,
  ),
  testCase(
    'a helper wants the context itself',
    'helper-argument',
    (mend) => `mov %r2, 0\nadd %r1, ${mend('0', '4')}\ncall xdp_adjust_head`,
  ),
  testCase(
    'a helper wants a map',
    'helper-argument',
    (mend) => `mov %r6, %r1\n${KEY}\n${mend(`lddw %r1, map ${MAPS.hash}`, 'mov %r1, %r6')}\ncall map_lookup_elem`,
  ),
  testCase(
    'a helper wants the address of a key',
    'helper-argument',
    (mend) => `${KEY}\n${mend('', 'mov %r2, 1\n')}lddw %r1, map ${MAPS.hash}\ncall map_lookup_elem`,
  ),
  testCase(
    'a key that reaches above the stack',
    'stack-bounds',
    (mend) =>
      `${KEY.replace('add %r2, -4', `add %r2, ${mend('-4', '-2')}`)}\nlddw %r1, map ${MAPS.hash}\ncall map_lookup_elem`,
  ),
  testCase(
    'a key of 8 bytes where 4 are',
    'stack-bounds',
    (mend) => `${KEY}\nlddw %r1, map ${mend(`${MAPS.hash}`, `${MAPS.sparse}`)}\ncall map_lookup_elem`,
  ),
  testCase(
    'a key in the packet that was not checked',
    'packet-bounds',
    (mend) =>
      `${packet(0).replace('add %r4, 0', `add %r4, ${mend('4', '3')}`)}\nlddw %r1, map ${MAPS.hash}\ncall map_lookup_elem`,
  ),
  testCase(
    'a value that is too short',
    'stack-bounds',
    (mend) =>
      `${KEY}\nmov %r3, %r10\nadd %r3, -${mend('8', '4')}\nlddw %r1, map ${MAPS.hash}\nmov %r4, 0\ncall map_update_elem`,
  ),
  testCase(
    'a value that may be null',
    'null-pointer',
    (mend) =>
      `${found(MAPS.hash).replace('jeq %r0, 0, out', mend('jeq %r0, 0, out', 'mov %r9, 0'))}\nmov %r3, %r0\n${KEY}\nlddw %r1, map ${MAPS.lru}\nmov %r4, 0\ncall map_update_elem`,
  ),
  testCase(
    'an update of a table of programs',
    'map-kind',
    (mend) =>
      `${KEY}\nmov %r3, %r10\nadd %r3, -8\nlddw %r1, map ${mend(`${MAPS.hash}`, `${MAPS.programs}`)}\nmov %r4, 0\ncall map_update_elem`,
  ),
  testCase(
    'a look-up in a CPU map',
    'map-kind',
    (mend) => `${KEY}\nlddw %r1, map ${mend(`${MAPS.devices}`, `${MAPS.cpus}`)}\ncall map_lookup_elem`,
  ),
  testCase(
    'a look-up in a ring',
    'map-kind',
    (mend) => `${KEY}\nlddw %r1, map ${mend(`${MAPS.hash}`, `${MAPS.ring}`)}\ncall map_lookup_elem`,
  ),
  testCase(
    'a redirect by a hash',
    'map-kind',
    (mend) => `lddw %r1, map ${mend(`${MAPS.devices}`, `${MAPS.hash}`)}\nmov %r2, 0\nmov %r3, 0\ncall redirect_map`,
  ),
  testCase(
    'a tail call by an array of numbers',
    'map-kind',
    (mend) => `lddw %r2, map ${mend(`${MAPS.programs}`, `${MAPS.array}`)}\nmov %r3, 1\ncall tail_call`,
  ),
  testCase(
    'an event in a ring buffer',
    'map-kind',
    (mend) =>
      `lddw %r2, map ${mend(`${MAPS.perf}`, `${MAPS.ring}`)}\nlddw %r3, 0xffffffff\nstdw [%r10-8], 1\nmov %r4, %r10\nadd %r4, -8\nmov %r5, 8\ncall perf_event_output`,
  ),
  testCase(
    'the value of another CPU where all share one',
    'map-kind',
    (mend) =>
      `${KEY}\nlddw %r1, map ${mend(`${MAPS.cpuHash}`, `${MAPS.hash}`)}\nmov %r3, 0\ncall map_lookup_percpu_elem`,
  ),
  testCase(
    'an event of the packet',
    'helper-argument',
    (mend) =>
      `mov %r6, %r1\n${packet(8)}\nmov %r4, ${mend('%r10', '%r2')}\n${mend('add %r4, -8\n', '')}mov %r1, %r6\nlddw %r2, map ${MAPS.perf}\nlddw %r3, 0xffffffff\nmov %r5, 8\ncall perf_event_output`,
  ),
  testCase(
    'a size without a bound',
    'helper-size',
    (mend) =>
      `ldxw %r4, [%r1+12]\n${mend('and %r4, 7\nadd %r4, 1\n', '')}mov %r2, 0\nmov %r3, %r10\nadd %r3, -8\ncall xdp_load_bytes`,
  ),
  testCase(
    'a size that is too large',
    'stack-bounds',
    (mend) =>
      `ldxw %r4, [%r1+12]\nand %r4, ${mend('7', '15')}\nadd %r4, 1\nmov %r2, 0\nmov %r3, %r10\nadd %r3, -8\ncall xdp_load_bytes`,
  ),
  testCase(
    'a size that may be 0',
    'helper-size',
    (mend) =>
      `ldxw %r4, [%r1+12]\nand %r4, 7\n${mend('jeq %r4, 0, out\n', '')}mov %r2, 0\nmov %r3, %r10\nadd %r3, -8\ncall xdp_load_bytes`,
  ),
  testCase(
    'a size that may be negative',
    'helper-size',
    (mend) =>
      `mov %r6, %r1\ncall xdp_get_buff_len\nmov %r4, %r0\n${mend('jgt', 'jsgt')} %r4, 8, out\njeq %r4, 0, out\nmov %r1, %r6\nmov %r2, 0\nmov %r3, %r10\nadd %r3, -8\ncall xdp_load_bytes`,
  ),
  testCase(
    'a size that is an address',
    'helper-argument',
    (mend) => `mov %r4, ${mend('8', '%r10')}\nmov %r2, 0\nmov %r3, %r10\nadd %r3, -8\ncall xdp_load_bytes`,
  ),
  testCase(
    'memory that is null, and a size',
    'helper-size',
    (mend) => `mov %r1, 0\nmov %r2, ${mend('0', '4')}\nmov %r3, 0\nmov %r4, 0\nmov %r5, 0\ncall csum_diff`,
  ),
  testCase(
    'a text of no bytes',
    'helper-size',
    (mend) => `stdw [%r10-8], 0\nmov %r1, %r10\nadd %r1, -8\nmov %r2, ${mend('8', '0')}\ncall trace_printk`,
  ),
  testCase(
    'constants as what a helper writes',
    'access-rights',
    (mend) =>
      `lddw %r3, value ${mend(`${MAPS.global}`, `${MAPS.constants}`)}\nmov %r2, 0\nmov %r4, 8\ncall xdp_load_bytes`,
  ),
  testCase('a record is not given back', 'reference-leak', (mend) => `${RECORD}\n${mend(SUBMIT, 'stdw [%r7], 1')}`),
  testCase(
    'a record is not given back on one of two ways',
    'reference-leak',
    (mend) => `${RECORD}\nldxw %r8, [%r6+12]\njeq %r8, 1, ${mend('give', 'out')}\ngive: ${SUBMIT}`,
  ),
  testCase(
    'a record is not given back, and nobody looked',
    'reference-leak',
    (mend) => `${RESERVE}\n${mend(`jeq %r0, 0, out\nmov %r7, %r0\n${SUBMIT}`, 'mov %r7, %r0')}`,
  ),
  testCase('a record is not given back before a tail call', 'reference-leak', (mend) =>
    `${RECORD}\n${mend(`${SUBMIT}\n`, '')}mov %r1, %r6\nlddw %r2, map ${MAPS.programs}\nmov %r3, 0\ncall tail_call\n${mend('', SUBMIT)}`.trim(),
  ),
  testCase('a record is given back twice', 'helper-argument', (mend) =>
    `${RECORD}\n${SUBMIT}\n${mend('', SUBMIT)}`.trim(),
  ),
  testCase('a record is written after it was given back', 'stale-pointer', (mend) =>
    `${RECORD}\n${mend('stdw [%r7], 1\n', '')}${SUBMIT}\n${mend('', 'stdw [%r7], 1')}`.trim(),
  ),
  testCase(
    'a record that may be null is written',
    'null-pointer',
    (mend) => `${RESERVE}\n${mend('jeq %r0, 0, out\n', '')}mov %r7, %r0\nstdw [%r7], 1\n${SUBMIT}`,
  ),
  testCase(
    'a record that may be null is given back',
    'null-pointer',
    (mend) => `${RESERVE}\n${mend('jeq %r0, 0, out\n', '')}mov %r7, %r0\n${SUBMIT}`,
  ),
  testCase(
    'a record is written behind its end',
    'memory-bounds',
    (mend) => `${RECORD}\nstdw [%r7+${mend('8', '9')}], 1\n${SUBMIT}`,
  ),
  testCase(
    'a record is written at an index without a bound',
    'memory-bounds',
    (mend) =>
      `${RECORD}\nldxw %r8, [%r6+12]\nand %r8, ${mend('15', '31')}\nmov %r1, %r7\nadd %r1, %r8\nstb [%r1], 1\n${SUBMIT}`,
  ),
  testCase(
    'something behind a record is given back',
    'helper-argument',
    (mend) => `${RECORD}\nadd %r7, ${mend('0', '8')}\n${SUBMIT}`,
  ),
  testCase(
    'a record of unknown size',
    'helper-argument',
    (mend) =>
      `ldxw %r2, [%r1+12]\nand %r2, 15\n${mend('mov %r2, 16\n', '')}mov %r6, %r1\nlddw %r1, map ${MAPS.ring}\nmov %r3, 0\ncall ringbuf_reserve\njeq %r0, 0, out\nmov %r7, %r0\n${SUBMIT}`,
  ),
  testCase(
    'what is no record is given back',
    'helper-argument',
    (mend) => `${RECORD}\n${SUBMIT.replace('%r7', mend('%r7', '%r10'))}`,
  ),
  testCase(
    'a helper is called by a number in a register',
    'call',
    (mend) => `mov %r2, 5\n${mend('call 5', 'call %r2')}`,
  ),
  testCase(
    'functions that take too much of the stack together',
    'stack-depth',
    (mend) =>
      `stdw [%r10-256], 0\ncall local f\nout: mov %r0, 2\nexit\nf: stdw [%r10-${mend('256', '264')}], 0\nmov %r0, 0\nexit`,
  ),
  testCase('a loop without an end', 'infinite-loop', (mend) =>
    `mov %r3, 0\nagain: add %r3, ${mend('1', '0')}\ncall ktime_get_ns\nmov %r4, 1\nmov %r5, 1\njlt %r3, 10, again`
      .replace('mov %r3, 0', 'mov %r6, 0')
      .replaceAll('%r3', '%r6'),
  ),
  testCase(
    'a loop that waits for a number',
    'infinite-loop',
    (mend) =>
      `mov %r6, 0\nagain: call get_prandom_u32\n${mend('add %r6, 1\njgt %r6, 9, out\n', '')}jne %r0, 7, again\nmov %r7, 1`,
  ),
  testCase(
    'a loop that jumps to itself',
    'infinite-loop',
    (mend) => `mov %r3, 5\nagain: ${mend('sub %r3, 1\n', '')}jne %r3, 0, again`,
  ),
  testCase(
    'a loop with more rounds than are followed',
    'budget',
    (mend) => `mov %r6, 0\nagain: add %r6, 1\njlt %r6, ${mend('1000', '2000000')}, again`,
  ),
  testCase(
    'what nothing leads to',
    'unreachable',
    (mend) => `ja out\n${mend('', 'mov %r3, 1\n')}out: mov %r0, 2\nexit`,
  ),
];
