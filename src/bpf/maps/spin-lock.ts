import { RingwayError } from '../../util/errors.ts';
import { KIND_ARRAY, KIND_HASH } from '../layout.ts';
import type { Btf } from '../object/btf.ts';
import type { MapDefinition } from '../program.ts';

/** Bytes of struct bpf_spin_lock. */
export const LOCK_BYTES = 4;
/** Structs within each other that are looked into. */
const DEPTH_MAX = 8;

/** Where in a type its spin locks are. */
function locksIn(btf: Btf, id: number, at: number, depth: number): number[] {
  const type = btf.resolve(id);
  if (type.kind === 'var') return locksIn(btf, type.type, at, depth + 1);
  if (depth > DEPTH_MAX) return [];
  if (type.kind === 'datasec') {
    return type.variables.flatMap((variable) => locksIn(btf, variable.type, at + variable.offset, depth + 1));
  }
  if (type.kind !== 'struct') return [];
  if (type.name === 'bpf_spin_lock') return [at];
  return type.members.flatMap((member) => locksIn(btf, member.type, at + member.bitOffset / 8, depth + 1));
}

const known = new WeakMap<MapDefinition, readonly number[]>();

function locksOf(definition: MapDefinition): readonly number[] {
  const { types } = definition;
  const there = known.get(definition);
  if (there !== undefined) return there;
  const found = types === undefined || types.value === 0 ? [] : locksIn(types.btf, types.value, 0, 0);
  known.set(definition, found);
  return found;
}

/** The offset of the spin lock (struct bpf_spin_lock, by its name in BTF) in a map's values; undefined when they have none. */
export function lockOffset(definition: MapDefinition): number | undefined {
  return locksOf(definition)[0];
}

/** Whether values of a kind of map may have one (Linux map_check_btf). */
export const mayHaveLock = ({ kind }: MapDefinition): boolean => kind === KIND_HASH || kind === KIND_ARRAY;

/**
 * Checks the spin locks in a map's values.
 * @throws RingwayError `BAD_ARGUMENT` when there are several, or the kind of map allows none.
 */
export function checkLocks(definition: MapDefinition): void {
  const { name, valueBytes } = definition;
  const locks = locksOf(definition);
  const [first] = locks;
  const refuse = (what: string): RingwayError => new RingwayError('BAD_ARGUMENT', `map ${name}: ${what}`);
  if (first === undefined) return;
  if (locks.length > 1) throw refuse(`its values have ${locks.length} members of struct bpf_spin_lock; one is allowed`);
  if (!mayHaveLock(definition)) {
    throw refuse('its values have a struct bpf_spin_lock, which only those of HASH and ARRAY may');
  }
  if (first % LOCK_BYTES !== 0 || first + LOCK_BYTES > valueBytes) {
    const rule = `which is no multiple of ${LOCK_BYTES} in ${valueBytes} bytes`;
    throw refuse(`its struct bpf_spin_lock is at offset ${first}, ${rule}`);
  }
}
