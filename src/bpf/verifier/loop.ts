import {
  FRAMES_MAX,
  KIND_ARRAY,
  KIND_HASH,
  KIND_LRU_HASH,
  KIND_LRU_PERCPU_HASH,
  KIND_PERCPU_ARRAY,
  KIND_PERCPU_HASH,
} from '../layout.ts';
import { HELPER_EACH, LOOPS, type LoopHelper } from '../loops.ts';
import { EACH_KEY_MAX } from '../maps/layout.ts';
import { KINDS } from '../maps/shape.ts';
import type { LoopCall, MapDefinition } from '../program.ts';
import { registerText } from './describe.ts';
import { Refusal } from './refusal.ts';
import { Register, scalarRegister, UNINITIALISED, unknownRegister } from './register.ts';
import { includes, knownValue, unknownOf } from './scalar.ts';
import { demandUnlocked, hasLock } from './spin-lock.ts';
import type { Slot } from './stack.ts';
import { createFrame, type Frame, type Round, type StackUsage, type State } from './state.ts';
import type { Outcome } from './step.ts';

const ARGUMENTS = 5;
/** Kinds whose entries may be gone through (Linux bpf_map_ops.map_for_each_callback), and keys that there is room for. */
const EACH_KINDS = [KIND_HASH, KIND_ARRAY, KIND_PERCPU_HASH, KIND_PERCPU_ARRAY, KIND_LRU_HASH, KIND_LRU_PERCPU_HASH];

/** A call of a helper that calls a function round by round. */
type Call = LoopCall & LoopHelper;

/** An argument of the call. */
function argument(
  state: State,
  { name, use, round }: Call,
  number: number,
  wanted: string,
  isRight: (register: Register) => boolean,
): Register {
  const register = state.register(number);
  const advice = `Write ${use}, with \`${round}\`.`;
  if (register.type === 'uninitialised') {
    const why = `${name} takes r${number}, and nothing was written to it on this path.`;
    throw new Refusal('uninitialised-register', why, advice, number);
  }
  if (isRight(register)) return register;
  const text = registerText(register, state.frames.length - 1);
  throw new Refusal('helper-argument', `${name} wants ${wanted} in r${number}, which is ${text}.`, advice, number);
}

/** The map of a bpf_for_each_map_elem. */
function mapOf(state: State, call: Call): MapDefinition {
  const { map } = argument(state, call, 1, 'a map', ({ type, mayBeNull }) => type === 'map' && !mayBeNull);
  const nameOf = (kind: number): string => KINDS.get(kind)?.name ?? `kind ${kind}`;
  const { name, kind, keyBytes } = map as MapDefinition;
  if (!EACH_KINDS.includes(kind)) {
    const why = `map ${name} is ${nameOf(kind)}, which ${call.name} does not take.`;
    throw new Refusal('map-kind', why, `It takes ${EACH_KINDS.map(nameOf).join(', ')}.`, 1);
  }
  if (keyBytes <= EACH_KEY_MAX) return map as MapDefinition;
  const why = `map ${name} has keys of ${keyBytes} bytes, and ${call.name} takes ${EACH_KEY_MAX} at most.`;
  throw new Refusal('map-kind', why, 'Use shorter keys.', 1);
}

/**
 * A call of bpf_loop, or of bpf_for_each_map_elem: the loop is over, or there is one round more, from which the callback comes back to
 * the call (Linux push_callback_call).
 * @throws Refusal
 */
export function callLoop(
  state: State,
  { helper, callback }: LoopCall,
  usage: StackUsage,
  newId: () => number,
): Outcome {
  const call: Call = { helper, callback, ...(LOOPS.get(helper) as LoopHelper) };
  demandUnlocked(state, `${call.name} is called`);
  const isNumber = ({ type }: Register): boolean => type === 'scalar';
  const map = helper === HELPER_EACH ? mapOf(state, call) : undefined;
  const rounds = map === undefined ? argument(state, call, 1, 'a number of rounds', isNumber) : undefined;
  const isNull = ({ type, scalar }: Register): boolean => type === 'scalar' && knownValue(scalar) === 0n;
  const isData = (one: Register): boolean => one.type === 'stack' || isNull(one);
  const data = argument(state, call, 3, 'the address of a variable, or null,', isData);
  argument(state, call, 4, 'a number', isNumber);
  rounds?.origin.mark();
  data.origin.mark();
  const { pc, frame } = state;
  const hasMore = rounds === undefined || frame.rounds < rounds.scalar.umax;
  const taken = hasMore ? state.clone() : undefined;
  if (taken !== undefined) {
    const round = beginRound(taken, call, usage);
    if (map === undefined) setArguments(round, [unknownRegister(), data]);
    else setArguments(round, [...entryOf(map, newId), data]);
  }
  for (let number = 1; number <= ARGUMENTS; number++) state.setRegister(number, UNINITIALISED);
  state.setRegister(0, unknownRegister());
  frame.rounds = 0;
  state.pc = pc + 1;
  return { kind: 'branch', taken, passed: state };
}

/** What is told of an entry: the map, its key, its value. */
function entryOf(map: MapDefinition, newId: () => number): Register[] {
  const value = new Register({ type: 'map_value', map, id: hasLock(map) ? newId() : 0 });
  return [new Register({ type: 'map', map }), new Register({ type: 'map_key', map }), value];
}

function setArguments({ registers }: Frame, values: readonly Register[]): void {
  for (const [index, value] of values.entries()) registers[index + 1] = value;
}

function beginRound(state: State, { name, callback }: Call, usage: StackUsage): Frame {
  if (state.frames.length === FRAMES_MAX) {
    const why = `functions lie more than ${FRAMES_MAX} deep in each other.`;
    throw new Refusal('call', why, 'Inline some: `static __always_inline`.');
  }
  state.frame.rounds++;
  const round: Round = { name, before: state.frames.map((each) => each.clone()), references: state.references };
  const frame = createFrame(usage, state.pc, state.frames.length, round);
  state.frames.push(frame);
  state.pc = callback;
  return frame;
}

/** A round is over; its frame is gone. @throws Refusal */
export function endRound(state: State, { name, before, references }: Round, result: Register): void {
  result.origin.mark();
  const { scalar } = result;
  if (result.type !== 'scalar' || scalar.umax > 1n) {
    const text = registerText(result, state.frames.length);
    const missing = 'Return 0 to go on, 1 to stop, and nothing else.';
    throw new Refusal('call', `a round of ${name} returns r0, which is ${text}.`, missing, 0);
  }
  if (state.references.length !== references.length || state.references.some(({ id }, i) => id !== references[i]?.id)) {
    const why = `a round of ${name} leaves a record reserved, or gives back one that was reserved before the loop.`;
    throw new Refusal('reference-leak', why, 'Reserve and give back in the same round, or outside of the loop.');
  }
  for (const [depth, frame] of state.frames.entries()) {
    const earlier = before[depth];
    for (const [number, register] of frame.registers.entries()) {
      frame.registers[number] = widened(earlier?.registers[number], register, 8);
    }
    for (const [index, slot] of frame.stack.slots.entries()) {
      const changed = widenedSlot(earlier?.stack.slots[index], slot);
      if (changed !== undefined && changed !== slot) frame.stack.set(index, changed);
    }
  }
}

/**
 * A number that a round changed, and that nobody asked for so far, may be any after the next ones (Linux
 * widen_imprecise_scalars): so that rounds come to an end.
 */
function widened(before: Register | undefined, now: Register, bytes: number): Register {
  if (before?.type !== 'scalar' || now.type !== 'scalar' || before === now) return now;
  if (before.origin.isPrecise || now.origin.isPrecise || includes(before.scalar, now.scalar)) return now;
  return scalarRegister(unknownOf(bytes), now.origin);
}

function widenedSlot(before: Slot | undefined, now: Slot | undefined): Slot | undefined {
  if (before?.value === undefined || now?.value === undefined || before.valueBytes !== now.valueBytes) return now;
  const value = widened(before.value, now.value, now.valueBytes);
  return value === now.value ? now : now.withValue(value);
}
