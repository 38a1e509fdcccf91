import { FRAMES_MAX } from '../layout.ts';
import { registerText } from './describe.ts';
import { Refusal } from './refusal.ts';
import { type Register, scalarRegister, UNINITIALISED, unknownRegister } from './register.ts';
import { includes, knownValue, unknownOf } from './scalar.ts';
import { demandUnlocked } from './spin-lock.ts';
import type { Slot } from './stack.ts';
import { createFrame, type Round, type StackUsage, type State } from './state.ts';
import type { Outcome } from './step.ts';

const ARGUMENTS = 5;
const ADVICE = 'Write bpf_loop(n, round, &data, 0), with `static long round(__u32 i, struct data *data)`.';

/** An argument of the call. */
function argument(state: State, number: number, wanted: string, isRight: (register: Register) => boolean): Register {
  const register = state.register(number);
  if (register.type === 'uninitialised') {
    const why = `bpf_loop takes r${number}, and nothing was written to it on this path.`;
    throw new Refusal('uninitialised-register', why, ADVICE, number);
  }
  if (isRight(register)) return register;
  const text = registerText(register, state.frames.length - 1);
  throw new Refusal('helper-argument', `bpf_loop wants ${wanted} in r${number}, which is ${text}.`, ADVICE, number);
}

/**
 * A call of bpf_loop: the loop is over, or there is one round more, from which the callback comes back to the call (Linux
 * push_callback_call).
 * @throws Refusal
 */
export function callLoop(state: State, callback: number, usage: StackUsage): Outcome {
  demandUnlocked(state, 'bpf_loop is called');
  const isNumber = ({ type }: Register): boolean => type === 'scalar';
  const rounds = argument(state, 1, 'a number of rounds', isNumber);
  const isNull = ({ type, scalar }: Register): boolean => type === 'scalar' && knownValue(scalar) === 0n;
  const data = argument(state, 3, 'the address of a variable, or null,', (one) => one.type === 'stack' || isNull(one));
  argument(state, 4, 'a number', isNumber);
  rounds.origin.mark();
  data.origin.mark();
  const { pc, frame } = state;
  const taken = frame.rounds < rounds.scalar.umax ? state.clone() : undefined;
  if (taken !== undefined) beginRound(taken, callback, usage, data);
  for (let number = 1; number <= ARGUMENTS; number++) state.setRegister(number, UNINITIALISED);
  state.setRegister(0, unknownRegister());
  frame.rounds = 0;
  state.pc = pc + 1;
  return { kind: 'branch', taken, passed: state };
}

function beginRound(state: State, callback: number, usage: StackUsage, data: Register): void {
  if (state.frames.length === FRAMES_MAX) {
    const why = `functions lie more than ${FRAMES_MAX} deep in each other.`;
    throw new Refusal('call', why, 'Inline some: `static __always_inline`.');
  }
  state.frame.rounds++;
  const round: Round = { before: state.frames.map((each) => each.clone()), references: state.references };
  const frame = createFrame(usage, state.pc, state.frames.length, round);
  frame.registers[1] = unknownRegister();
  frame.registers[2] = data;
  state.frames.push(frame);
  state.pc = callback;
}

/** A round is over; its frame is gone. @throws Refusal */
export function endRound(state: State, { before, references }: Round, result: Register): void {
  result.origin.mark();
  const { scalar } = result;
  if (result.type !== 'scalar' || scalar.umax > 1n) {
    const text = registerText(result, state.frames.length);
    const missing = 'Return 0 to go on, 1 to stop, and nothing else.';
    throw new Refusal('call', `a round of bpf_loop returns r0, which is ${text}.`, missing, 0);
  }
  if (state.references.length !== references.length || state.references.some(({ id }, i) => id !== references[i]?.id)) {
    const why = 'a round of bpf_loop leaves a record reserved, or gives back one that was reserved before the loop.';
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
