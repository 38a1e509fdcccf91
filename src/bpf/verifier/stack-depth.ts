import { HELPER_TAIL_CALL } from '../helpers.ts';
import { CALL_HELPER, CALL_LOCAL, OP_CALL } from '../instruction.ts';
import { FRAME_BYTES } from '../layout.ts';
import type { Program } from '../program.ts';
import { Refusal } from './refusal.ts';

/** What functions take of the stack is counted in steps (Linux round_up_stack_depth, of compiled programs). */
const STEP = 16;
/** What functions may have taken before one that makes a tail call (Linux check_max_stack_depth). */
const TAIL_CALL_BYTES = 256;

/** Functions that lie too deep in each other: where the call is, and why that is too deep. */
export interface DepthFailure {
  readonly pc: number;
  readonly refusal: Refusal;
}

/**
 * Whether functions within each other take more of the stack than there is. Here each has 512 bytes of its own, but a
 * kernel has that much for all of them.
 * @param bytes of each function, by number.
 */
export function findDeepStack({ code, functions }: Program, bytes: readonly number[]): DepthFailure | undefined {
  const numberAt = new Map(functions.map(({ start }, index) => [start, index]));
  const callsOf = functions.map(({ start, end }) => {
    const calls: { readonly pc: number; readonly target: number }[] = [];
    for (let pc = start; pc < end; pc++) {
      const one = code[pc];
      if (one?.opcode !== OP_CALL || one.src !== CALL_LOCAL) continue;
      calls.push({ pc, target: numberAt.get(pc + 1 + one.imm) ?? 0 });
    }
    return calls;
  });
  const makesTailCall = functions.map(({ start, end }) =>
    code
      .slice(start, end)
      .some(({ opcode, src, imm }) => opcode === OP_CALL && src === CALL_HELPER && imm === HELPER_TAIL_CALL),
  );
  /** By function, the most that was taken before it: walked again only when more is. */
  const most = functions.map(() => -1);
  const visit = (index: number, before: number, from: number): DepthFailure | undefined => {
    if (before <= (most[index] ?? -1)) return undefined;
    most[index] = before;
    const name = functions[index]?.name;
    const total = before + Math.ceil((bytes[index] ?? 0) / STEP) * STEP;
    if (total > FRAME_BYTES) {
      const why = `with ${name}, functions within each other take ${total} bytes of the stack. They have ${FRAME_BYTES} together.`;
      return {
        pc: from,
        refusal: new Refusal('stack-depth', why, 'Use fewer or smaller variables, or keep them in a PERCPU_ARRAY.'),
      };
    }
    if (index > 0 && makesTailCall[index] === true && before >= TAIL_CALL_BYTES) {
      const why = `${name} makes a tail call, and its callers take ${before} bytes of the stack.`;
      return {
        pc: from,
        refusal: new Refusal(
          'stack-depth',
          why,
          `They may take less than ${TAIL_CALL_BYTES}: make the tail call from the program itself.`,
        ),
      };
    }
    for (const { pc, target } of callsOf[index] ?? []) {
      const found = visit(target, total, pc);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return visit(0, 0, 0);
}
