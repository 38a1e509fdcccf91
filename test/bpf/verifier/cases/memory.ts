import { MAPS } from '../../support/fixture.ts';
import { type Case, found, lookup, packet, testCase } from './case.ts';

/** Maps, the stack, the context, records of ring buffers. */
export const MEMORY_CASES: readonly Case[] = [
  testCase(
    'an element is used without a look whether it is there',
    'null-pointer',
    (mend) => `${mend(found(MAPS.hash), lookup(MAPS.hash))}\nldxdw %r0, [%r0]`,
  ),
  testCase(
    'an element is written without a look',
    'null-pointer',
    (mend) => `${mend(found(MAPS.lru), lookup(MAPS.lru))}\nstdw [%r0], 1`,
  ),
  testCase(
    'the look leads the wrong way',
    'not-a-pointer',
    (mend) => `${lookup(MAPS.hash)}\n${mend('jeq', 'jne')} %r0, 0, out\nldxdw %r1, [%r0]`,
  ),
  testCase(
    'a look at the lower half',
    'null-pointer',
    (mend) => `${lookup(MAPS.hash)}\njeq${mend('', '32')} %r0, 0, out\nldxdw %r0, [%r0]`,
  ),
  testCase(
    'a look at another element',
    'null-pointer',
    (mend) =>
      `${lookup(MAPS.hash)}\nmov %r7, %r0\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, map ${MAPS.hash}\ncall map_lookup_elem\njeq %r${mend('7', '0')}, 0, out\nldxdw %r0, [%r7]`,
  ),
  testCase(
    'something is added before the look',
    'null-pointer',
    (mend) =>
      `${lookup(MAPS.hash)}\n${mend('jeq %r0, 0, out\nadd %r0, 4', 'add %r0, 4\njeq %r0, 0, out')}\nldxw %r0, [%r0]`,
  ),
  testCase(
    'what is null is followed',
    'not-a-pointer',
    (mend) => `${lookup(MAPS.hash)}\njne %r0, 0, in\n${mend('ja out', 'ldxb %r0, [%r0]\nja out')}\nin: ldxb %r0, [%r0]`,
  ),
  testCase(
    'a place of an array that there may not be',
    'null-pointer',
    (mend) =>
      `${lookup(MAPS.array)
        .replaceAll('-4', '-8')
        .replace('], 1', `], ${mend('3', '4')}`)}\nldxdw %r0, [%r0]`,
  ),
  testCase(
    'a place of an array that is not known',
    'null-pointer',
    (mend) =>
      `ldxw %r5, [%r1+12]\n${mend('mov %r5, 1', 'and %r5, 3')}\nstxw [%r10-8], %r5\nmov %r2, %r10\nadd %r2, -8\nlddw %r1, map ${MAPS.array}\ncall map_lookup_elem\nldxdw %r0, [%r0]`,
  ),
  testCase(
    'a value is read behind its end',
    'map-bounds',
    (mend) => `${found(MAPS.hash)}\nldxdw %r0, [%r0+${mend('0', '1')}]`,
  ),
  testCase(
    'a value is read before its beginning',
    'map-bounds',
    (mend) => `${found(MAPS.array)}\nldxb %r0, [%r0${mend('+0', '-1')}]`,
  ),
  testCase(
    'a value is written behind its end',
    'map-bounds',
    (mend) => `${found(MAPS.array)}\nstw [%r0+${mend('12', '13')}], 0`,
  ),
  testCase(
    'an index into a value that is too large',
    'map-bounds',
    (mend) => `ldxw %r8, [%r1+12]\n${found(MAPS.array)}\nand %r8, ${mend('15', '31')}\nadd %r0, %r8\nldxb %r0, [%r0]`,
  ),
  testCase(
    'an index with a bound one too high',
    'map-bounds',
    (mend) =>
      `ldxw %r8, [%r1+12]\n${found(MAPS.array)}\njgt %r8, ${mend('15', '16')}, out\nadd %r0, %r8\nldxb %r0, [%r0]`,
  ),
  testCase('an index without a bound', 'map-bounds', (mend) =>
    `ldxw %r8, [%r1+12]\n${found(MAPS.array)}\n${mend('and %r8, 12', 'and %r8, -4')}\nadd %r0, %r8\nldxb %r0, [%r0]`.replace(
      'and %r8, -4',
      'and32 %r8, 0xfffffff',
    ),
  ),
  testCase(
    'an index of 64 bits',
    'unbounded-offset',
    (mend) =>
      `${found(MAPS.array)}\nldxdw %r8, [%r0]\n${mend('and %r8, 7', 'rsh %r8, 8')}\nadd %r0, %r8\nldxb %r0, [%r0]`,
  ),
  testCase(
    'an index that may be negative',
    'unbounded-offset',
    (mend) =>
      `ldxw %r8, [%r1+12]\n${found(MAPS.array)}\n${mend('jgt', 'jsgt32')} %r8, 7, out\nmovsx3264 %r8, %r8\nadd %r0, %r8\nldxb %r0, [%r0]`,
  ),
  testCase(
    'an index times the size of what is there',
    'map-bounds',
    (mend) =>
      `ldxw %r8, [%r1+12]\n${found(MAPS.array)}\nand %r8, 3\nmul %r8, ${mend('4', '5')}\nadd %r0, %r8\nldxw %r0, [%r0]`,
  ),
  testCase(
    'an index shifted too far',
    'map-bounds',
    (mend) =>
      `ldxw %r8, [%r1+12]\n${found(MAPS.array)}\nand %r8, 3\nlsh %r8, ${mend('2', '3')}\nadd %r0, %r8\nldxw %r0, [%r0]`,
  ),
  testCase(
    'a remainder has no bound',
    'map-bounds',
    (mend) =>
      `ldxw %r8, [%r1+12]\n${found(MAPS.array)}\nmod32 %r8, 16\n${mend('and %r8, 15', 'and %r8, 0xffff')}\nadd %r0, %r8\nldxb %r0, [%r0]`,
  ),
  testCase(
    'the sum of two indexes',
    'map-bounds',
    (mend) =>
      `ldxw %r8, [%r1+12]\nldxw %r7, [%r1+16]\n${found(MAPS.array)}\nand %r8, 7\nand %r7, ${mend('7', '15')}\nadd %r8, %r7\nadd %r0, %r8\nldxb %r0, [%r0]`,
  ),
  testCase(
    'a global variable is read behind its end',
    'map-bounds',
    (mend) => `lddw %r1, value ${MAPS.global} + 60\nldxw %r0, [%r1+${mend('0', '1')}]`,
  ),
  testCase(
    'the value of a hash has no address',
    'map-kind',
    (mend) => `lddw %r1, value ${mend(`${MAPS.global}`, `${MAPS.hash}`)}\nldxw %r0, [%r1]`,
  ),
  testCase(
    'the value of an array of many has no address',
    'map-kind',
    (mend) => `lddw %r1, value ${mend(`${MAPS.global}`, `${MAPS.array}`)}\nldxw %r0, [%r1]`,
  ),
  testCase(
    'constants are written',
    'access-rights',
    (mend) => `lddw %r1, value ${mend(`${MAPS.global}`, `${MAPS.constants}`)}\nstw [%r1], 1`,
  ),
  testCase(
    'constants are counted in',
    'access-rights',
    (mend) => `lddw %r1, value ${mend(`${MAPS.global}`, `${MAPS.constants}`)}\nmov %r2, 1\nlock add [%r1], %r2`,
  ),
  testCase(
    'a device map is written',
    'access-rights',
    (mend) => `${found(MAPS.devices)}\n${mend('ldxw %r0, [%r0]', 'stw [%r0], 1')}`,
  ),
  testCase(
    'a socket is followed',
    'not-a-pointer',
    (mend) => `${found(MAPS.sockets)}\n${mend('mov %r0, 1', 'ldxw %r0, [%r0]')}`,
  ),
  testCase(
    'a map is followed',
    'not-a-pointer',
    (mend) => `lddw %r1, map ${MAPS.hash}\n${mend('mov %r0, 0', 'ldxw %r0, [%r1]')}`,
  ),
  testCase(
    'something is added to a map',
    'pointer-arithmetic',
    (mend) => `lddw %r1, map ${MAPS.hash}\nadd %r1, ${mend('0', '8')}`,
  ),
  testCase(
    'a map of a map is used without a look',
    'null-pointer',
    (mend) =>
      `${lookup(MAPS.arrays)}\n${mend('jeq %r0, 0, out', 'mov %r9, 0')}\nmov %r1, %r0\nmov %r2, %r10\nadd %r2, -4\ncall map_lookup_elem`,
  ),
  testCase('a number is followed', 'not-a-pointer', (mend) => `mov %r2, ${mend('%r10', '4096')}\nldxdw %r0, [%r2-8]`),
  testCase('the stack is read above its top', 'stack-bounds', (mend) => `ldxdw %r0, [%r10${mend('-8', '+0')}]`),
  testCase('the stack is written above its top', 'stack-bounds', (mend) => `stw [%r10${mend('-4', '+4')}], 0`),
  testCase('more than 512 bytes of stack', 'stack-bounds', (mend) => `stdw [%r10-${mend('512', '520')}], 0`),
  testCase(
    'an index on the stack that reaches its top',
    'stack-bounds',
    (mend) =>
      `ldxw %r2, [%r1+12]\nand %r2, ${mend('7', '15')}\nmov %r3, %r10\nadd %r3, -8\nadd %r3, %r2\nldxb %r0, [%r3]`,
  ),
  testCase(
    'an index on the stack without a bound',
    'unbounded-offset',
    (mend) =>
      `stdw [%r10-8], 0\nldxdw %r2, [%r10-16]\n${mend('and %r2, 7', 'rsh %r2, 1')}\nmov %r3, %r10\nadd %r3, -8\nadd %r3, %r2\nldxb %r0, [%r3]`,
  ),
  testCase('a word on the stack that is not aligned', 'alignment', (mend) => `stw [%r10-${mend('8', '6')}], 0`),
  testCase(
    'an atomic operation that is not aligned',
    'alignment',
    (mend) => `lddw %r1, value ${MAPS.global}\nmov %r2, 1\nlock add [%r1+${mend('8', '4')}], %r2`,
  ),
  testCase(
    'an atomic operation at an index that is not aligned',
    'alignment',
    (mend) =>
      `ldxw %r3, [%r1+12]\nand %r3, ${mend('24', '28')}\nlddw %r1, value ${MAPS.global}\nadd %r1, %r3\nmov %r2, 1\nlock add [%r1], %r2`,
  ),
  testCase('half of a pointer is put on the stack', 'partial-pointer', (mend) => `stx${mend('dw', 'w')} [%r10-8], %r1`),
  testCase(
    'half of a pointer is taken from the stack',
    'partial-pointer',
    (mend) => `stxdw [%r10-8], %r1\nldx${mend('dw', 'w')} %r2, [%r10-8]`,
  ),
  testCase(
    'a pointer that was partly overwritten',
    'not-a-pointer',
    (mend) => `stxdw [%r10-8], %r10\nstb [%r10-${mend('9', '8')}], 0\nldxdw %r2, [%r10-8]\nldxdw %r0, [%r2-8]`,
  ),
  testCase(
    'a pointer that an index may have overwritten',
    'not-a-pointer',
    (mend) =>
      `ldxw %r2, [%r1+12]\nand %r2, 7\nstxdw [%r10-8], %r1\nmov %r3, %r10\nadd %r3, -${mend('16', '8')}\nadd %r3, %r2\nstb [%r3], 1\nldxdw %r1, [%r10-8]\nldxw %r0, [%r1]`,
  ),
  testCase(
    'a pointer that a helper overwrote',
    'not-a-pointer',
    (mend) =>
      `mov %r6, %r1\nstxdw [%r10-8], %r6\nmov %r2, 0\nmov %r3, %r10\nadd %r3, -${mend('16', '8')}\nmov %r4, 8\ncall xdp_load_bytes\nldxdw %r1, [%r10-8]\nldxw %r0, [%r1]`,
  ),
  testCase('the context is written', 'context-access', (mend) => `${mend('ldxw %r0, [%r1+16]', 'stw [%r1+16], 0')}`),
  testCase('the context is read behind its end', 'context-access', (mend) => `ldxw %r0, [%r1+${mend('16', '24')}]`),
  testCase('half of a field of the context', 'context-access', (mend) => `ldx${mend('w', 'h')} %r0, [%r1+12]`),
  testCase('two fields of the context at once', 'context-access', (mend) => `ldx${mend('w', 'dw')} %r0, [%r1+8]`),
  testCase('between two fields of the context', 'context-access', (mend) => `ldxw %r0, [%r1+${mend('12', '14')}]`),
  testCase(
    'the context at an index',
    'context-access',
    (mend) => `ldxw %r2, [%r1+12]\nand %r2, ${mend('0', '4')}\nadd %r1, %r2\nldxw %r0, [%r1+12]`,
  ),
  testCase('egress_ifindex without an egress', 'context-access', (mend) => `ldxw %r0, [%r1+${mend('12', '20')}]`),
  testCase('an address with a sign', 'partial-pointer', (mend) => `ldx${mend('', 's')}w %r0, [%r1]`),
  testCase(
    'an address of the stack is given back',
    'stack-escape',
    (mend) =>
      `call local f\n${mend('mov %r0, 1', 'mov %r0, 1')}\nout: mov %r0, 2\nexit\nf: mov %r0, ${mend('0', '%r10')}\nexit`,
  ),
  testCase(
    "an address of the stack in a caller's",
    'stack-escape',
    (mend) =>
      `mov %r1, %r10\nadd %r1, -8\ncall local f\nout: mov %r0, 2\nexit\nf: ${mend('stdw [%r1], 1', 'stxdw [%r1], %r10')}\nmov %r0, 0\nexit`,
  ),
  testCase(
    "a function reads above its caller's stack",
    'stack-bounds',
    (mend) => `mov %r1, %r10\ncall local f\nout: mov %r0, 2\nexit\nf: ldxdw %r0, [%r1${mend('-8', '+0')}]\nexit`,
  ),
  testCase(
    'a value that is read in a function with an index',
    'map-bounds',
    (mend) =>
      `ldxw %r8, [%r1+12]\n${found(MAPS.array)}\nmov %r1, %r0\nand %r8, ${mend('15', '16')}\nmov %r2, %r8\ncall local f\nout: mov %r0, 2\nexit\nf: add %r1, %r2\nldxb %r0, [%r1]\nexit`,
  ),
  testCase(
    'what a packet says is no index',
    'map-bounds',
    (mend) =>
      `mov %r6, %r1\n${packet(14)}\nldxb %r8, [%r2]\nlddw %r1, value ${MAPS.global}\n${mend('jgt %r8, 63, out', 'jgt %r8, 64, out')}\nadd %r1, %r8\nldxb %r0, [%r1]`,
  ),
  testCase(
    'a stack pointer that is subtracted from',
    'pointer-arithmetic',
    (mend) =>
      `stb [%r10-8], 1\nmov %r2, %r10\n${mend('add %r2, -8', 'sub %r2, 8')}\nldxb %r0, [%r2]\nout: mov %r0, 2\nexit`,
  ),
  testCase(
    'what an atomic operation fetches from the stack is known',
    'stack-bounds',
    (mend) =>
      `stdw [%r10-8], ${mend('-4', '-600')}\nmov %r1, 7\nlock fetch add [%r10-8], %r1\nmov %r2, %r10\nadd %r2, %r1\nldxb %r0, [%r2]\nout: mov %r0, 2\nexit`,
  ),
];
