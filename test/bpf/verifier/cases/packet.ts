import { type Case, DATA, packet, testCase } from './case.ts';

const check = (jump: string): string => `${DATA}\nmov %r4, %r2\nadd %r4, 14\n${jump}\nja out`;

/** Packets: their ends, their metadata, what moves them. */
export const PACKET_CASES: readonly Case[] = [
  testCase(
    'a packet is read without a look at its end',
    'packet-bounds',
    (mend) => `${mend(packet(1), DATA)}\nldxb %r0, [%r2]`,
  ),
  testCase(
    'a check of 13 bytes is none of 14',
    'packet-bounds',
    (mend) => `${packet(0).replace('add %r4, 0', `add %r4, ${mend('14', '13')}`)}\nldxh %r0, [%r2+12]`,
  ),
  testCase(
    'a byte behind what was checked',
    'packet-bounds',
    (mend) => `${packet(14)}\nldxb %r0, [%r2+${mend('13', '14')}]`,
  ),
  testCase(
    'a word that begins within what was checked',
    'packet-bounds',
    (mend) => `${packet(14)}\nldxw %r0, [%r2+${mend('10', '11')}]`,
  ),
  testCase('a byte before the packet', 'packet-bounds', (mend) => `${packet(14)}\nldxb %r0, [%r2${mend('+0', '-1')}]`),
  testCase(
    'the check leads the wrong way',
    'packet-bounds',
    (mend) => `${DATA}\nmov %r4, %r2\nadd %r4, 14\n${mend('jgt', 'jle')} %r4, %r3, out\nldxb %r0, [%r2]`,
  ),
  testCase(
    'pointer < end says one byte more than pointer <= end',
    'packet-bounds',
    (mend) => `${check(`${mend('jlt', 'jle')} %r4, %r3, in`)}\nin: ldxb %r0, [%r2+14]`,
  ),
  testCase(
    'end > pointer says one byte more than end >= pointer',
    'packet-bounds',
    (mend) => `${check(`${mend('jgt', 'jge')} %r3, %r4, in`)}\nin: ldxb %r0, [%r2+14]`,
  ),
  testCase(
    'pointer >= end leaves one byte more than pointer > end',
    'packet-bounds',
    (mend) => `${DATA}\nmov %r4, %r2\nadd %r4, 14\n${mend('jge', 'jgt')} %r4, %r3, out\nldxb %r0, [%r2+14]`,
  ),
  testCase(
    'end < pointer leaves as much as end <= pointer less one',
    'packet-bounds',
    (mend) => `${DATA}\nmov %r4, %r2\nadd %r4, 14\n${mend('jle', 'jlt')} %r3, %r4, out\nldxb %r0, [%r2+14]`,
  ),
  testCase(
    'a comparison of lower halves says nothing',
    'packet-bounds',
    (mend) => `${DATA}\nmov %r4, %r2\nadd %r4, 14\n${mend('jgt', 'jgt32')} %r4, %r3, out\nldxb %r0, [%r2]`,
  ),
  testCase(
    'that a pointer is not the end says nothing',
    'packet-bounds',
    (mend) => `${DATA}\nmov %r4, %r2\nadd %r4, 1\n${mend('jgt', 'jeq')} %r4, %r3, out\nldxb %r0, [%r2]`,
  ),
  testCase(
    'a length is not compared with the end',
    'packet-bounds',
    (mend) =>
      `${DATA}\n${mend('mov %r4, %r2\nadd %r4, 14\njgt %r4, %r3, out', 'mov %r4, %r3\nsub %r4, %r2\njlt %r4, 14, out')}\nldxb %r0, [%r2]`,
  ),
  testCase(
    'the check is on one of two ways only',
    'packet-bounds',
    (mend) =>
      `${DATA}\nldxw %r5, [%r1+12]\nmov %r4, %r2\nadd %r4, 14\njeq %r5, 3, ${mend('out', 'in')}\njgt %r4, %r3, out\nin: ldxb %r0, [%r2]`,
  ),
  testCase(
    'a check of another pointer with the same number added',
    'packet-bounds',
    (mend) =>
      `${packet(14)}\nldxb %r5, [%r2]\nmov %r4, %r2\nadd %r4, %r5\nmov %r0, ${mend('%r4', '%r2')}\n${mend('', 'add %r0, %r5\n')}add %r0, 4\njgt %r0, %r3, out\nldxb %r0, [%r4]`,
  ),
  testCase(
    'something is added to a pointer that was checked',
    'packet-bounds',
    (mend) =>
      `${packet(14)}\nldxb %r5, [%r2]\n${mend('mov %r4, %r2\nadd %r4, %r5\nadd %r4, 1\njgt %r4, %r3, out\nadd %r4, -1', 'mov %r4, %r2\nadd %r4, %r5')}\nldxb %r0, [%r4]`,
  ),
  testCase(
    'a length without a bound',
    'packet-bounds',
    (mend) =>
      `${packet(14)}\nldxw %r5, [%r2]\n${mend('and %r5, 0xff', 'and %r5, 0x1ffff')}\nadd %r2, %r5\nmov %r4, %r2\nadd %r4, 2\njgt %r4, %r3, out\nldxh %r0, [%r2]`,
  ),
  testCase('a length that may be negative', 'unbounded-offset', (mend) =>
    `${packet(14)}\nldxsb %r5, [%r2]\n${mend('and %r5, 0xff', '')}\nadd %r2, %r5\nmov %r4, %r2\nadd %r4, 2\njgt %r4, %r3, out\nldxh %r0, [%r2]`.replace(
      '\n\n',
      '\n',
    ),
  ),
  testCase(
    'a length of 64 bits',
    'unbounded-offset',
    (mend) =>
      `${packet(14)}\nldxdw %r5, [%r2]\n${mend('and %r5, 0xff', 'mov %r0, 0')}\nadd %r2, %r5\nmov %r4, %r2\nadd %r4, 2\njgt %r4, %r3, out\nldxh %r0, [%r2]`,
  ),
  testCase(
    'a signed comparison leaves what is negative',
    'unbounded-offset',
    (mend) =>
      `${packet(14)}\nldxdw %r5, [%r2]\n${mend('jgt', 'jsgt')} %r5, 100, out\nadd %r2, %r5\nmov %r4, %r2\nadd %r4, 2\njgt %r4, %r3, out\nldxh %r0, [%r2]`,
  ),
  testCase(
    'the bound of a lower half is none of the whole',
    'unbounded-offset',
    (mend) =>
      `${packet(14)}\nldxdw %r5, [%r2]\njgt${mend('', '32')} %r5, 100, out\nadd %r2, %r5\nmov %r4, %r2\nadd %r4, 2\njgt %r4, %r3, out\nldxh %r0, [%r2]`,
  ),
  testCase(
    'a swapped length has lost its bound',
    'unbounded-offset',
    (mend) =>
      `${packet(14)}\nldxh %r5, [%r2]\nbe32 %r5\n${mend('and %r5, 0x7ff', 'mov %r0, 0')}\nadd %r2, %r5\nmov %r4, %r2\nadd %r4, 2\njgt %r4, %r3, out\nldxh %r0, [%r2]`,
  ),
  testCase('a pointer is used after bpf_xdp_adjust_head', 'stale-pointer', (mend) =>
    `mov %r6, %r1\n${packet(14)}\nmov %r7, %r2\nmov %r2, -4\ncall xdp_adjust_head\n${mend(`mov %r1, %r6\n${packet(14)}\nmov %r7, %r2`, '')}\nldxb %r0, [%r7]`.replace(
      '\n\n',
      '\n',
    ),
  ),
  testCase(
    'a pointer is used after bpf_xdp_adjust_tail',
    'stale-pointer',
    (mend) =>
      `mov %r6, %r1\n${packet(14)}\nmov %r7, %r2\n${mend('call ktime_get_ns', 'mov %r2, -4\ncall xdp_adjust_tail')}\nldxb %r0, [%r7]`,
  ),
  testCase(
    'a pointer is used after bpf_xdp_adjust_meta',
    'stale-pointer',
    (mend) =>
      `${packet(14)}\nmov %r7, %r2\n${mend('call ktime_get_ns', 'mov %r2, -4\ncall xdp_adjust_meta')}\nldxb %r0, [%r7]`,
  ),
  testCase(
    'a spilled pointer is used after the packet was moved',
    'stale-pointer',
    (mend) =>
      `${packet(14)}\nstxdw [%r10-8], %r2\n${mend('call ktime_get_ns', 'mov %r2, 0\ncall xdp_adjust_head')}\nldxdw %r7, [%r10-8]\nldxb %r0, [%r7]`,
  ),
  testCase(
    'a pointer is used after a function moved the packet',
    'stale-pointer',
    (mend) =>
      `${packet(14)}\nmov %r7, %r2\ncall local move\nldxb %r0, [%r7]\nout: mov %r0, 2\nexit\nmove: ${mend('mov %r0, 0', 'mov %r2, 0\ncall xdp_adjust_head')}\nexit`,
  ),
  testCase(
    'the packet moved on one of two ways',
    'stale-pointer',
    (mend) =>
      `mov %r6, %r1\nldxw %r8, [%r1+12]\n${packet(14)}\nmov %r7, %r2\njeq %r8, 1, on\nmov %r2, 0\ncall xdp_adjust_head\n${mend('ja out', 'mov %r8, 0')}\non: ldxb %r0, [%r7]`,
  ),
  testCase(
    'metadata are read without a look at their end',
    'packet-bounds',
    (mend) =>
      `ldxw %r2, [%r1+8]\nldxw %r3, [%r1]\nmov %r4, %r2\nadd %r4, 4\n${mend('jgt %r4, %r3, out', 'mov %r0, 0')}\nldxw %r0, [%r2]`,
  ),
  testCase(
    'metadata are compared with the end of the packet',
    'packet-bounds',
    (mend) =>
      `ldxw %r2, [%r1+8]\nldxw %r3, [%r1+${mend('0', '4')}]\nmov %r4, %r2\nadd %r4, 4\njgt %r4, %r3, out\nldxw %r0, [%r2]`,
  ),
  testCase(
    'metadata are compared with something behind data',
    'packet-bounds',
    (mend) =>
      `ldxw %r2, [%r1+8]\nldxw %r3, [%r1]\nadd %r3, ${mend('0', '4')}\nmov %r4, %r2\nadd %r4, 4\njgt %r4, %r3, out\nldxw %r0, [%r2]`,
  ),
  testCase('data_end is followed', 'not-a-pointer', (mend) => `${packet(14)}\nldxb %r0, [%r${mend('2', '3')}]`),
  testCase(
    'something is subtracted from data_end',
    'pointer-arithmetic',
    (mend) => `${DATA}\nmov %r4, %r2\n${mend('add %r4, 14', 'sub %r3, 14')}\njgt %r4, %r3, out\nmov %r0, 1`,
  ),
  testCase(
    'an atomic operation in the packet',
    'atomic',
    (mend) => `${packet(16)}\nmov %r5, 1\n${mend('stxw [%r2], %r5', 'lock add32 [%r2], %r5')}`,
  ),
  testCase(
    'a packet is written without a look at its end',
    'packet-bounds',
    (mend) => `${packet(4)}\nstw [%r2+${mend('0', '4')}], 7`,
  ),
  testCase('the address of the packet is multiplied', 'pointer-arithmetic', (mend) =>
    `${packet(4)}\nmul %r${mend('5', '2')}, 2`.replace('mul %r5', 'mov %r5, 1\nmul %r5'),
  ),
  testCase(
    'an address is taken as 32 bits',
    'pointer-arithmetic',
    (mend) => `${packet(8)}\nadd${mend('', '32')} %r2, 4\nldxb %r0, [%r2]`,
  ),
  testCase(
    'an address that was copied as 32 bits is a number',
    'not-a-pointer',
    (mend) => `${packet(8)}\nmov${mend('', '32')} %r5, %r2\nldxb %r0, [%r5]`,
  ),
  testCase(
    'a difference of addresses is a number',
    'not-a-pointer',
    (mend) => `${packet(8)}\nmov %r5, %r2\nsub %r5, ${mend('0', '%r3')}\nldxb %r0, [%r5]`,
  ),
];
