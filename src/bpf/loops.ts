import { RingwayError } from '../util/errors.ts';
import { assemble } from './assemble.ts';
import { HELPER_NEXT } from './helpers.ts';
import {
  ALU,
  accessMode,
  CALL_HELPER,
  CALL_LOCAL,
  CLASS,
  type Instruction,
  isConditional,
  jumpTarget,
  LDDW,
  MODE,
  OP_CALL,
  OP_EXIT,
  OP_JA,
  OP_JA32,
  OP_LDDW,
  opcodeClass,
  SOURCE_REGISTER,
} from './instruction.ts';
import { EACH_AGAIN, EACH_KEY, EACH_KEY_MAX } from './maps/layout.ts';
import { type FunctionInfo, type LoopCall, type LoopCalls, lineOf, type Program, placeOf } from './program.ts';

/** BPF_FUNC_for_each_map_elem and BPF_FUNC_loop (Linux include/uapi/linux/bpf.h). */
export const HELPER_EACH = 164;
export const HELPER_LOOP = 181;
const OP_MOVE = CLASS.ALU64 | ALU.MOV | SOURCE_REGISTER;

/**
 * What bpf_loop does (Linux kernel/bpf/bpf_iter.c), as a function of the program: r1 rounds, r3 the callback's second argument, r4
 * flags, of which there are none. The call in it is the callback's: all engines run it as they run any code.
 */
const LOOP = assemble(`
  jeq %r4, 0, +2
  mov %r0, -22
  exit
  mov32 %r6, %r1
  jle %r6, 0x800000, +2
  mov %r0, -7
  exit
  mov %r7, %r3
  mov %r8, 0
  jge %r8, %r6, +5
  mov %r1, %r8
  mov %r2, %r7
  call 0
  add %r8, 1
  jeq %r0, 0, -6
  mov %r0, %r8
  exit`);

/** Bytes of the stack that bpf_for_each_map_elem keeps its place and the key in. */
const PLACE_BYTES = EACH_KEY + EACH_KEY_MAX;

/** What bpf_for_each_map_elem does (Linux kernel/bpf/arraymap.c, hashtab.c): r1 the map, r3 the callback's last argument, r4 flags. */
const EACH = assemble(`
  jeq %r4, 0, +2
  mov %r0, -22
  exit
  mov %r6, %r1
  mov %r7, %r3
  mov %r8, 0
  stdw [%r10-${PLACE_BYTES}], 0
  stdw [%r10-${PLACE_BYTES - 8}], 0
  stdw [%r10-${PLACE_BYTES - 16}], 0
  next: mov %r1, %r6
  mov %r2, %r10
  add %r2, -${PLACE_BYTES}
  mov %r3, ${PLACE_BYTES}
  call ${HELPER_NEXT}
  jeq %r0, 0, out
  jeq %r0, ${EACH_AGAIN}, next
  mov %r1, %r6
  mov %r2, %r10
  add %r2, -${EACH_KEY_MAX}
  mov %r3, %r0
  mov %r4, %r7
  call 0
  add %r8, 1
  jeq %r0, 0, next
  out: mov %r0, %r8
  exit`);

/** A helper that calls a function of the program round by round. */
export interface LoopHelper {
  readonly name: string;
  /** How it is called, for messages. */
  readonly use: string;
  /** How the function is declared, for messages. */
  readonly round: string;
  readonly code: readonly Instruction[];
}

/** The helpers that call a function of the program round by round. */
export const LOOPS: ReadonlyMap<number, LoopHelper> = new Map([
  [
    HELPER_LOOP,
    {
      name: 'bpf_loop',
      use: 'bpf_loop(n, round, &data, 0)',
      round: 'static long round(__u32 i, struct data *data)',
      code: LOOP,
    },
  ],
  [
    HELPER_EACH,
    {
      name: 'bpf_for_each_map_elem',
      use: 'bpf_for_each_map_elem(&map, round, &data, 0)',
      round: 'static long round(struct bpf_map *map, const void *key, void *value, struct data *data)',
      code: EACH,
    },
  ],
]);

/** Instructions that some jump leads to. */
function jumpTargets({ code }: Program): Set<number> {
  const targets = new Set<number>();
  for (const [pc, one] of code.entries()) {
    const { opcode } = one;
    if (isConditional(opcode) || opcode === OP_JA || opcode === OP_JA32) targets.add(jumpTarget(one, pc));
  }
  return targets;
}

/** The function whose address is in r2 at `call`, as the instructions right before it say; undefined when they do not. */
function callbackAt({ code }: Program, call: number, start: number, targets: ReadonlySet<number>): number | undefined {
  let register = 2;
  for (let pc = call; pc > start && !targets.has(pc); ) {
    // The second half of an LDDW has opcode 0, and nothing else has.
    pc -= code[pc - 1]?.opcode === 0 ? 2 : 1;
    const { opcode, dst, src, imm, offset } = code[pc] as Instruction;
    if (opcode === OP_EXIT || opcode === OP_JA || opcode === OP_JA32) return undefined;
    if (opcode === OP_CALL && register <= 5) return undefined;
    const kind = opcodeClass(opcode);
    // An atomic operation may write its source.
    if (kind === CLASS.STX && accessMode(opcode) === MODE.ATOMIC && src === register) return undefined;
    const isWrite = kind === CLASS.LD || kind === CLASS.LDX || kind === CLASS.ALU || kind === CLASS.ALU64;
    if (!isWrite || dst !== register) continue;
    if (opcode === OP_LDDW && src === LDDW.FUNCTION) return pc + 1 + imm;
    if (opcode !== OP_MOVE || offset !== 0) return undefined;
    register = src;
  }
  return undefined;
}

/**
 * The program with a function of its own in the place of each such call, as kernels do it with bpf_loop, too; the program itself
 * when it has none.
 * @throws RingwayError `BAD_PROGRAM` when it is not plain which function a loop calls.
 */
export function withLoops(program: Program): Program {
  const { functions } = program;
  const calls = new Map<number, LoopCall>();
  const targets = jumpTargets(program);
  for (const { start, end } of functions) {
    for (let pc = start; pc < end; pc++) {
      const { opcode, src, imm } = program.code[pc] as Instruction;
      const helper = opcode === OP_CALL && src === CALL_HELPER ? LOOPS.get(imm) : undefined;
      if (helper === undefined) continue;
      const callback = callbackAt(program, pc, start, targets);
      if (callback === undefined || !functions.some((each) => each.start === callback)) {
        throw new RingwayError(
          'BAD_PROGRAM',
          `program ${program.name}: it is not plain which function ${helper.name} calls. Name it in the call: ${helper.use}. At ${placeOf(program, pc)}`,
        );
      }
      calls.set(pc, { helper: imm, callback });
    }
  }
  return calls.size === 0 ? program : append(program, { calls, start: program.code.length });
}

/** Adds a loop for each callback, and has the calls lead there. */
function append(program: Program, loops: LoopCalls): Program {
  const code = [...program.code];
  const functions: FunctionInfo[] = [...program.functions];
  const lines = [...program.lines];
  const loopOf = new Map<string, number>();
  for (const [pc, { helper, callback }] of loops.calls) {
    const loop = LOOPS.get(helper) as LoopHelper;
    const start = loopOf.get(`${helper} ${callback}`) ?? code.length;
    if (start === code.length) {
      loopOf.set(`${helper} ${callback}`, start);
      const call = start + loop.code.findIndex(({ opcode, imm }) => opcode === OP_CALL && imm === 0);
      code.push(...loop.code);
      code[call] = { ...(code[call] as Instruction), src: CALL_LOCAL, imm: callback - call - 1 };
      const name = functions.find((each) => each.start === callback)?.name;
      functions.push({ name: `${loop.name}.${name}`, start, end: code.length });
      // What it takes is taken at the call.
      const line = lineOf(program, pc);
      if (line !== undefined) lines.push({ ...line, pc: start });
    }
    code[pc] = { ...(code[pc] as Instruction), src: CALL_LOCAL, imm: start - pc - 1 };
  }
  return { ...program, code, functions, lines, loops };
}

/** The program as it was before `withLoops`, for who knows such helpers. */
export function withoutLoops(program: Program): Program {
  const { loops } = program;
  if (loops === undefined) return program;
  const code = program.code.slice(0, loops.start);
  for (const [pc, { helper }] of loops.calls)
    code[pc] = { ...(code[pc] as Instruction), src: CALL_HELPER, imm: helper };
  const isOwn = ({ start }: FunctionInfo): boolean => start < loops.start;
  const lines = program.lines.filter(({ pc }) => pc < loops.start);
  return { ...program, code, functions: program.functions.filter(isOwn), lines };
}
