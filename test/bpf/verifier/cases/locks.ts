import { readFileSync } from 'node:fs';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { loadObject } from '#build/bpf/object/load.js';
import type { RejectionReason } from '#build/bpf/verifier/refusal.js';
import { type Case, OUT, type Writer } from './case.ts';

const file = new URL('../../object/fixtures/locks.o', import.meta.url);
/** Maps whose values have BTF: `totals` and `queues`, with a lock at 4 of 24 bytes. */
const MAPS = loadObject(readFileSync(file)).maps;
const number = (name: string): number => MAPS.findIndex((map) => map.name === name);

function lockCase(name: string, reason: RejectionReason, write: Writer): Case {
  const programFrom = (text: string) => programOf(assemble(`${text}\n${OUT}`), 'program', MAPS);
  return { name, reason, bad: programFrom(write((_, wrong) => wrong)), good: programFrom(write((right) => right)) };
}

/** Register `to` = a value of the map. */
const value = (to: number, map = 'queues'): string =>
  `stw [%r10-4], 1\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, map ${number(map)}\ncall map_lookup_elem\njeq %r0, 0, out\nmov %r${to}, %r0`;
const lock = (of: number, offset = 4): string => `mov %r1, %r${of}\nadd %r1, ${offset}\ncall spin_lock`;
const unlock = (of: number, offset = 4): string => `mov %r1, %r${of}\nadd %r1, ${offset}\ncall spin_unlock`;
const WORK = 'ldxdw %r3, [%r7+8]\nadd %r3, 1\nstxdw [%r7+8], %r3';

/** Spin locks. They are not in CASES, since a kernel has to be told of BTF to know of them. */
export const LOCK_CASES: readonly Case[] = [
  lockCase(
    'a lock that is not given back',
    'spin-lock',
    (mend) => `${value(7)}\n${lock(7)}\n${WORK}\n${mend(unlock(7), '')}`,
  ),
  lockCase(
    'a lock that is not given back on one of two ways',
    'spin-lock',
    (mend) =>
      `${value(7)}\n${lock(7)}\nldxw %r3, [%r7]\njeq %r3, 5, ${mend('back', 'out')}\n${WORK}\nback: ${unlock(7)}`,
  ),
  lockCase(
    'a lock that is taken twice',
    'spin-lock',
    (mend) => `${value(7)}\n${lock(7)}\n${mend('', lock(7))}\n${unlock(7)}`,
  ),
  lockCase(
    'two locks at a time',
    'spin-lock',
    (mend) =>
      `${value(7)}\n${value(8, 'totals')}\n${lock(7)}\n${mend(unlock(7), '')}\n${lock(8)}\n${unlock(8)}\n${mend('', unlock(7))}`,
  ),
  lockCase('a lock that nobody has taken', 'spin-lock', (mend) => `${value(7)}\n${mend(lock(7), '')}\n${unlock(7)}`),
  lockCase(
    'another map’s lock is given back',
    'spin-lock',
    (mend) => `${value(7)}\n${value(8, 'totals')}\n${lock(7)}\n${unlock(mend('7', '8') === '7' ? 7 : 8)}`,
  ),
  lockCase(
    'the lock of another look-up is given back',
    'spin-lock',
    (mend) => `${value(7)}\n${value(8)}\n${lock(7)}\n${unlock(mend('7', '8') === '7' ? 7 : 8)}`,
  ),
  lockCase(
    'a helper is called with a lock held',
    'spin-lock',
    (mend) =>
      `${value(7)}\n${mend('call ktime_get_ns', '')}\n${lock(7)}\n${mend('', 'call ktime_get_ns')}\n${unlock(7)}`,
  ),
  lockCase('not the lock but what is beside it', 'spin-lock', (mend) => {
    const at = mend('4', '8') === '4' ? 4 : 8;
    return `${value(7)}\n${lock(7, at)}\n${unlock(7, at)}`;
  }),
  lockCase(
    'a lock on the stack',
    'spin-lock',
    (mend) => `${value(7)}\nmov %r8, %r${mend('7', '10')}\nadd %r8, ${mend('0', '-12')}\n${lock(8)}\n${unlock(8)}`,
  ),
  lockCase('a lock of a value that may be null', 'null-pointer', (mend) => {
    const text = `${value(7)}\n${lock(7)}\n${unlock(7)}`;
    return mend(text, text.replace('jeq %r0, 0, out\n', '').replace('add %r1, 4\n', '').replace('add %r1, 4\n', ''));
  }),
  lockCase('a lock is read', 'spin-lock', (mend) => `${value(7)}\nldxw %r3, [%r7+${mend('0', '4')}]`),
  lockCase('a lock is written', 'spin-lock', (mend) => `${value(7)}\nstw [%r7+${mend('0', '4')}], 0`),
  lockCase(
    'a lock is written with what is before it',
    'spin-lock',
    (mend) => `${value(7)}\nst${mend('w', 'dw')} [%r7], 0`,
  ),
  lockCase(
    'a lock may be read by an offset that is not known',
    'spin-lock',
    (mend) => `${value(7)}\nldxb %r3, [%r7+8]\nand %r3, 7\nadd %r7, ${mend('8', '0')}\nadd %r7, %r3\nldxb %r3, [%r7]`,
  ),
  lockCase(
    'a lock is read by a helper',
    'spin-lock',
    (mend) =>
      `${value(7)}\nmov %r1, 0\nmov %r2, 0\nmov %r3, %r7\nadd %r3, ${mend('8', '0')}\nmov %r4, 8\nmov %r5, 0\ncall csum_diff`,
  ),
];
