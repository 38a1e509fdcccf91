import {
  HELPER_LOOKUP,
  HELPER_SPIN_UNLOCK,
  HELPER_TAIL_CALL,
  HELPERS,
  type Helper,
  type HelperArgument,
} from '../helpers.ts';
import { KIND_ARRAY, KIND_ARRAY_OF_MAPS, KIND_HASH_OF_MAPS, KIND_PERCPU_ARRAY, KIND_XSKMAP } from '../layout.ts';
import { KINDS } from '../maps/shape.ts';
import type { MapDefinition, ProgramType } from '../program.ts';
import { checkAccess, stackReach } from './access.ts';
import { registerText, scalarText } from './describe.ts';
import { type Operand, Refusal } from './refusal.ts';
import { Register, scalarRegister, UNINITIALISED, unknownRegister } from './register.ts';
import { isConstant, knownValue, UNKNOWN } from './scalar.ts';
import { SIGNATURES, type Signature } from './signatures.ts';
import { checkLock, demandUnlocked, hasLock } from './spin-lock.ts';
import type { State } from './state.ts';

/** Bytes that a helper may be given at once (Linux BPF_MAX_VAR_SIZ). */
const SIZE_MAX = 1n << 29n;
const ARGUMENTS = 5;
/** Kinds of maps that have all of their elements always, and bytes of their keys. */
const WHOLE_KINDS: readonly number[] = [KIND_ARRAY, KIND_PERCPU_ARRAY];
const KEY_BYTES = 4;

/** What a call needs to know of the program. */
export interface CallContext {
  readonly pc: number;
  readonly type: ProgramType;
  newId(): number;
}

/** One call of a helper. */
class HelperCall {
  readonly #state: State;
  readonly #helper: Helper;
  readonly #signature: Signature;
  readonly #context: CallContext;
  #map: MapDefinition | undefined;
  /** The key is a number that is known and in the map's range, so that there is an element. */
  #isThere = false;

  constructor(state: State, helper: Helper, context: CallContext) {
    this.#state = state;
    this.#helper = helper;
    this.#signature = SIGNATURES.get(helper.id) ?? {};
    this.#context = context;
  }

  #operand(number: number): Operand {
    return { number, register: this.#state.register(number) };
  }

  #refusal(operand: Operand, wanted: string, missing: string): Refusal {
    const why = `bpf_${this.#helper.name} wants ${wanted} in r${operand.number}, which is ${this.#text(operand)}.`;
    return new Refusal('helper-argument', why, missing, operand.number);
  }

  #text({ register }: Operand): string {
    return registerText(register, this.#state.frames.length - 1);
  }

  /** Checks the arguments, and does what the call does to the state. */
  run(): void {
    const args = this.#helper.args.slice(0, this.#signature.required);
    for (const [index, kind] of args.entries()) this.#check(kind, this.#operand(index + 1));
    // Only once all of them are known to be right, since it writes to what others may read.
    for (const [index, kind] of args.entries()) if (kind === 'writable') this.#scramble(index + 1);
    if (this.#helper.id === HELPER_TAIL_CALL) demandNoReferences(this.#state, 'the program goes on in another one');
    const record = this.#signature.releases === true ? this.#state.register(1) : undefined;
    const result = this.#result();
    const state = this.#state;
    for (let number = 1; number <= ARGUMENTS; number++) state.setRegister(number, UNINITIALISED);
    state.setRegister(0, result);
    if (record !== undefined) releaseRecord(state, record, `bpf_${this.#helper.name} took the record`);
    if (this.#helper.movesPacket === true) forgetPacket(state, this.#helper.name, this.#context.pc);
  }

  #check(kind: HelperArgument, operand: Operand): void {
    const { register, number } = operand;
    if (register.type === 'uninitialised') {
      const why = `bpf_${this.#helper.name} takes r${number}, and nothing was written to it on this path.`;
      throw new Refusal(
        'uninitialised-register',
        why,
        `Give r${number} a value on every path that leads here.`,
        number,
      );
    }
    switch (kind) {
      case 'context':
        if (register.type !== 'context' || register.offset !== 0 || !isConstant(register.scalar)) {
          throw this.#refusal(operand, 'the context', 'Pass `ctx` itself, as the program got it.');
        }
        break;
      case 'map':
        this.#checkMap(operand);
        break;
      case 'map key':
        this.#checkMemory(operand, this.#map?.keyBytes ?? 0, false, 'a key');
        this.#isThere = this.#knowsPlace(register);
        break;
      case 'map value':
        this.#checkMemory(operand, this.#map?.valueBytes ?? 0, false, 'a value');
        break;
      case 'readable':
      case 'readable or null':
      case 'writable':
        this.#checkSized(kind, operand);
        break;
      case 'record':
        this.#checkRecord(operand);
        break;
      case 'lock':
        checkLock(this.#state, this.#helper, operand, this.#context.pc);
        break;
      default:
        if (this.#signature.constant === number) this.#checkConstant(operand);
    }
  }

  #checkMap(operand: Operand): void {
    const { register } = operand;
    if (register.mayBeNull && register.type === 'map') {
      const why = `r${operand.number} may be null: it is ${this.#text(operand)}.`;
      throw new Refusal('null-pointer', why, 'Look first: `if (!inner) return XDP_ABORTED;`.', operand.number);
    }
    const { map } = register;
    if (register.type !== 'map' || map === undefined) {
      throw this.#refusal(operand, 'a map', 'Pass the address of a map: `&my_map`.');
    }
    const { kinds } = this.#signature;
    this.#map = map;
    if (kinds === undefined || kinds.includes(map.kind)) return;
    const nameOf = (kind: number): string => KINDS.get(kind)?.name ?? `kind ${kind}`;
    const why = `map ${map.name} is ${nameOf(map.kind)}, which bpf_${this.#helper.name} does not take.`;
    throw new Refusal('map-kind', why, `It takes ${kinds.map(nameOf).join(', ')}.`, operand.number);
  }

  /** Checks memory that a helper reads or writes. */
  #checkMemory(operand: Operand, bytes: number, write: boolean, what: string): void {
    const { register, number } = operand;
    const isMemory = register.isPacket || ['stack', 'map_key', 'map_value', 'memory'].includes(register.type);
    if (!isMemory) {
      if (register.mayBeNull) checkAccess({ pointer: operand, offset: 0, bytes, write }, this.#context.type);
      const isStale = register.lost !== undefined;
      if (isStale) checkAccess({ pointer: operand, offset: 0, bytes, write }, this.#context.type);
      throw this.#refusal(
        operand,
        `the address of ${what} (${bytes} bytes)`,
        'Keep it in a variable, and pass its address.',
      );
    }
    if (register.isPacket && this.#signature.takesPacket !== true) {
      throw this.#refusal(
        operand,
        `memory of ${bytes} bytes that is not in the packet`,
        'Copy it to a variable on the stack first.',
      );
    }
    if (register.type !== 'stack') {
      checkAccess({ pointer: operand, offset: 0, bytes, write }, this.#context.type);
      return;
    }
    const { low, high } = stackReach(this.#state, { pointer: { number, register }, offset: 0, bytes, write });
    this.#state.frames[register.frame]?.stack.markRead(low, high - low);
  }

  /** Whether a key on the stack is the place of an element that an array always has (Linux can_elide_value_nullness). */
  #knowsPlace({ type, frame, scalar, offset }: Register): boolean {
    const map = this.#map;
    if (this.#helper.id !== HELPER_LOOKUP || map === undefined) return false;
    if (!WHOLE_KINDS.includes(map.kind) || type !== 'stack' || !isConstant(scalar)) return false;
    const at = offset + Number(scalar.smin);
    if (at % KEY_BYTES !== 0) return false;
    const loaded = this.#state.frames[frame]?.stack.load(at, KEY_BYTES);
    if (loaded === undefined || !('register' in loaded)) return false;
    const place = knownValue(loaded.register.scalar);
    if (place === undefined || place >= BigInt(map.maxEntries)) return false;
    loaded.register.origin.mark();
    return true;
  }

  #checkSized(kind: HelperArgument, operand: Operand): void {
    const size = this.#operand(operand.number + 1);
    const { register } = size;
    if (register.type !== 'scalar') {
      this.#check('size', size);
      throw this.#refusal(size, `the size of what is in r${operand.number}`, 'Pass a number.');
    }
    register.origin.mark();
    const { smin, umin, umax } = register.scalar;
    const refuse = (why: string, missing: string): never => {
      throw new Refusal(
        'helper-size',
        `r${size.number}, a size for bpf_${this.#helper.name}, ${why}`,
        missing,
        size.number,
      );
    };
    const amount = scalarText(register.scalar);
    if (smin < 0n)
      refuse(
        `may be negative (${amount}).`,
        'Use an unsigned number and bound it: `size &= 0xff`, or `if (size > 64) return XDP_DROP;`.',
      );
    if (umax >= SIZE_MAX)
      refuse(`has no upper bound (${amount}).`, 'Bound it first: `if (size > 64) return XDP_DROP;`.');
    const mayBeEmpty = this.#signature.mayBeEmpty?.includes(operand.number) === true;
    if (umin === 0n && !mayBeEmpty) refuse(`may be 0 (${amount}).`, 'Look first: `if (size == 0) return XDP_DROP;`.');
    const isNull = operand.register.type === 'scalar' && knownValue(operand.register.scalar) === 0n;
    if (isNull && kind === 'readable or null') {
      if (umax === 0n) return;
      refuse(`may be more than 0 (${amount}), and the memory is null.`, 'Without memory the size is 0.');
    }
    this.#checkMemory(operand, Number(umax), kind === 'writable', 'memory');
  }

  #checkRecord(operand: Operand): void {
    const { register } = operand;
    if (register.mayBeNull) {
      const why = `r${operand.number} may be null: it is ${this.#text(operand)}.`;
      throw new Refusal('null-pointer', why, 'Look first: `if (!record) return XDP_PASS;`.', operand.number);
    }
    const isWhole = register.offset === 0 && isConstant(register.scalar) && register.scalar.umin === 0n;
    if (register.type === 'memory' && register.reference !== 0 && isWhole) return;
    throw this.#refusal(operand, 'a record as bpf_ringbuf_reserve gave it', 'Pass that pointer itself, once.');
  }

  #checkConstant(operand: Operand): void {
    const { register } = operand;
    register.origin.mark();
    // Whatever it is: where there is no room, as for -1, there is no record.
    if (register.type === 'scalar' && isConstant(register.scalar)) return;
    throw this.#refusal(
      operand,
      'a constant',
      'Reserve a fixed size, such as `sizeof(struct event)`; bpf_ringbuf_output takes any.',
    );
  }

  #scramble(number: number): void {
    const pointer = this.#operand(number);
    const { register } = pointer;
    if (register.type !== 'stack') return;
    const bytes = Number(this.#operand(number + 1).register.scalar.umax);
    const { low, high } = stackReach(this.#state, { pointer, offset: 0, bytes, write: true });
    this.#state.frames[register.frame]?.stack.scramble(low, high - low);
  }

  #result(): Register {
    const { gives } = this.#signature;
    const { newId, pc } = this.#context;
    if (gives === 'record') {
      const id = newId();
      this.#state.references = [...this.#state.references, { id, pc }];
      const bytes = this.#state.register(2).scalar.u32Min;
      return new Register({ type: 'memory', bytes, mayBeNull: true, id, reference: id });
    }
    const map = this.#map;
    if (gives !== 'element' || map === undefined) return unknownRegister();
    if (map.kind === KIND_XSKMAP) return new Register({ type: 'socket', mayBeNull: true, id: newId() });
    const isNested = map.kind === KIND_ARRAY_OF_MAPS || map.kind === KIND_HASH_OF_MAPS;
    if (!isNested && this.#isThere) return new Register({ type: 'map_value', map, id: hasLock(map) ? newId() : 0 });
    if (!isNested) return new Register({ type: 'map_value', map, mayBeNull: true, id: newId() });
    return map.inner === undefined
      ? unknownRegister()
      : new Register({ type: 'map', map: map.inner, mayBeNull: true, id: newId() });
  }
}

/** Makes numbers of all pointers to a record that was given back. */
function releaseRecord(state: State, { reference }: Register, lost: string): void {
  state.references = state.references.filter(({ id }) => id !== reference);
  const gone = scalarRegister(UNKNOWN).with({ lost });
  state.replace((register) => (register.reference === reference ? gone : register));
}

/** Makes numbers of all pointers into the packet: a helper may have moved it. */
function forgetPacket(state: State, name: string, pc: number): void {
  const lost = `it pointed into the packet, which bpf_${name} at instruction ${pc} may have moved`;
  const gone = scalarRegister(UNKNOWN).with({ lost });
  state.replace((register) => (register.isPacket || register.type === 'packet_end' ? gone : register));
}

/** Says no when something that was taken was not given back. */
export function demandNoReferences({ references }: State, what: string): void {
  const [first] = references;
  if (first === undefined) return;
  const why = `${what}, and the record that was reserved at instruction ${first.pc} was not given back on this path.`;
  throw new Refusal(
    'reference-leak',
    why,
    'Call bpf_ringbuf_submit or bpf_ringbuf_discard on every path once it is not null.',
  );
}

/** Checks a call of a helper that there is, and does what it does to the state. @throws Refusal */
export function callHelper(state: State, id: number, context: CallContext): void {
  const helper = HELPERS.get(id);
  if (helper === undefined) return;
  if (id !== HELPER_SPIN_UNLOCK) demandUnlocked(state, `bpf_${helper.name} is called`);
  new HelperCall(state, helper, context).run();
}
