import { HELPER_SPIN_LOCK, type Helper } from '../helpers.ts';
import { LOCK_BYTES, lockOffset, mayHaveLock } from '../maps/spin-lock.ts';
import type { MapDefinition } from '../program.ts';
import { type Operand, Refusal } from './refusal.ts';
import { isConstant } from './scalar.ts';
import type { State } from './state.ts';

/*
 * Spin locks, as Linux has them for XDP: one in a value of a HASH or ARRAY, or a variable; one is held at a time; while it is,
 * no function and no other helper is called, and the program does not end. Nothing else reaches its bytes.
 */

/** Whether the values of a map have a spin lock. */
export const hasLock = (map: MapDefinition): boolean => lockOffset(map) !== undefined;

const refuse = (why: string, missing: string, culprit?: number): Refusal =>
  new Refusal('spin-lock', why, missing, culprit);

/** Says no to what must not be while a lock is held. */
export function demandUnlocked({ lock }: State, what: string): void {
  if (lock === undefined) return;
  const why = `${what}, and the lock in a value of map ${lock.map.name} that was taken at instruction ${lock.pc} is held.`;
  throw refuse(why, 'Call bpf_spin_unlock before, on every path; what needs a call can be done before it is taken.');
}

/** Says no to loads and stores that reach a lock; `low` and `high`: the bytes of the value that they may reach. */
export function demandNoLock(map: MapDefinition, low: bigint, high: bigint, culprit: number): void {
  const lock = lockOffset(map);
  if (lock === undefined || low >= BigInt(lock + LOCK_BYTES) || high <= BigInt(lock)) return;
  const why = `the spin lock of a value of map ${map.name} is reached, bytes ${lock} to ${lock + LOCK_BYTES - 1}.`;
  throw refuse(why, 'Only bpf_spin_lock and bpf_spin_unlock may: copy the members around it one by one.', culprit);
}

/** Checks what bpf_spin_lock or bpf_spin_unlock is given, and notes what is held then. */
export function checkLock(state: State, { id, name }: Helper, { number, register }: Operand, pc: number): void {
  const { map } = register;
  const wanted = `bpf_${name} wants the address of a struct bpf_spin_lock in r${number}`;
  if (register.type !== 'map_value' || map === undefined) {
    throw refuse(`${wanted}, and that is none.`, 'Put the lock into a value of a HASH or ARRAY.', number);
  }
  if (register.mayBeNull) {
    throw new Refusal(
      'null-pointer',
      `${wanted}, which may be null.`,
      'Look first: `if (!value) return XDP_DROP;`.',
      number,
    );
  }
  const lock = mayHaveLock(map) ? lockOffset(map) : undefined;
  const at = isConstant(register.scalar) ? BigInt(register.offset) + register.scalar.smin : undefined;
  if (lock === undefined || at !== BigInt(lock)) {
    const where = lock === undefined ? 'has none that BTF tells of, or may have none' : `has it at offset ${lock}`;
    throw refuse(`${wanted}; a value of map ${map.name} ${where}.`, 'Pass `&value->lock`.', number);
  }
  if (id === HELPER_SPIN_LOCK) {
    state.lock = { map, id: register.id, pc };
    return;
  }
  const { lock: held } = state;
  if (held === undefined) throw refuse('a lock is given back, and none is held.', 'Call bpf_spin_lock before.', number);
  if (held.map !== map || held.id !== register.id) {
    const why = `another lock is given back than the one that was taken at instruction ${held.pc}.`;
    throw refuse(why, 'Pass the same pointer to both: a second look-up may find another value.', number);
  }
  state.lock = undefined;
}
