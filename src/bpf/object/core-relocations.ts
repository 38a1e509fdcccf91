import { HELPERS } from '../helpers.ts';
import { CLASS, type Instruction, OP_CALL, OP_LDDW, opcodeClass, SOURCE_REGISTER } from '../instruction.ts';
import { MISSING_TYPE } from '../verify.ts';
import type { Btf, BtfMember, BtfType } from './btf.ts';
import type { CoreRecord } from './btf-ext.ts';

/*
 * CO-RE: instructions that depend on how a kernel lays out its types, which the loader finds out. Here there is no kernel:
 * types are as the object has them, since those that an XDP program can reach are its own, headers of packets, and struct
 * xdp_md. What only a kernel has does not exist.
 */

/** BPF_CORE_… (Linux include/uapi/linux/bpf.h, enum bpf_core_relo_kind). */
const KIND = {
  FIELD_BYTE_OFFSET: 0,
  FIELD_BYTE_SIZE: 1,
  FIELD_EXISTS: 2,
  FIELD_SIGNED: 3,
  FIELD_LSHIFT_U64: 4,
  FIELD_RSHIFT_U64: 5,
  TYPE_ID_LOCAL: 6,
  TYPE_ID_TARGET: 7,
  TYPE_EXISTS: 8,
  TYPE_SIZE: 9,
  ENUMVAL_EXISTS: 10,
  ENUMVAL_VALUE: 11,
  TYPE_MATCHES: 12,
} as const;

/** The context as the dataplane has it: u32 fields, in this order. */
const CONTEXT = 'xdp_md';
const CONTEXT_FIELDS = ['data', 'data_end', 'data_meta', 'ingress_ifindex', 'rx_queue_index', 'egress_ifindex'];

/** What a kernel keeps for itself. */
const KERNEL_TYPES: ReadonlySet<string> = new Set([
  ...['task_struct', 'cgroup', 'css_set', 'mm_struct', 'vm_area_struct', 'file', 'inode', 'dentry', 'path', 'pid'],
  ...['pt_regs', 'thread_info', 'cred', 'nsproxy', 'net', 'linux_binprm', 'module', 'kset', 'kobject', 'page'],
  ...['sk_buff', '__sk_buff', 'skb_shared_info', 'net_device', 'netdev_queue', 'netdev_rx_queue', 'napi_struct'],
  ...['sock', 'socket', 'sock_common', 'inet_sock', 'tcp_sock', 'udp_sock', 'unix_sock', 'request_sock', 'nf_conn'],
  ...['xdp_buff', 'xdp_buff_xsk', 'xdp_frame', 'xdp_rxq_info', 'xdp_txq_info', 'xdp_mem_info', 'xsk_buff_pool'],
  ...['bpf_prog', 'bpf_map', 'bpf_array', 'bpf_prog_aux', 'bpf_link', 'bpf_dynptr_kern', 'btf', 'neighbour'],
]);

/** An index in a path: what counts of elements can be. */
const STEP_MAX = 2 ** 32 - 1;
/** Longest path: libbpf's BPF_CORE_SPEC_MAX_LEN. */
const STEPS_MAX = 64;
/** Most bytes that a bitfield is read by. */
const WORD_BYTES = 8;

/** What an instruction is to hold instead; or what it is about, when that is not there. */
export type CoreResult = { readonly value: bigint } | { readonly missing: string };

/** A field, as a path of indexes leads to it. */
interface Field {
  readonly path: string;
  readonly type: BtfType;
  readonly member: BtfMember | undefined;
  readonly bitOffset: number;
}

/** The name of a type without what tells its versions apart: `task_struct___old`. */
const plainName = (name: string): string => name.replace(/___.*$/, '');

/** `fail` makes the error of this record: what is wrong with it. */
export function resolveCore(btf: Btf, record: CoreRecord, fail: (problem: string) => Error): CoreResult {
  const { kind, type: id } = record;
  const root = btf.resolve(id);
  const names = [plainName(btf.type(id).name), plainName(root.name)];
  const isAbsent = names.some((name) => KERNEL_TYPES.has(name));
  const missing = isAbsent ? btf.describe(id) : undefined;
  const steps = btf.text(record.access).split(':').map(Number);
  if (steps.length > STEPS_MAX || steps.some((step) => !Number.isInteger(step) || step < 0 || step > STEP_MAX)) {
    throw fail(
      `it has a path ${btf.text(record.access)}. A path is up to ${STEPS_MAX} numbers with colons in between.`,
    );
  }
  const yes = { value: 1n };
  const no = { value: 0n };
  switch (kind) {
    case KIND.TYPE_ID_LOCAL:
      return { value: BigInt(id) };
    case KIND.TYPE_ID_TARGET:
      return { value: isAbsent ? 0n : BigInt(id) };
    case KIND.TYPE_EXISTS:
    case KIND.TYPE_MATCHES:
      return isAbsent ? no : yes;
    case KIND.TYPE_SIZE:
      return isAbsent ? no : { value: BigInt(btf.size(id)) };
    case KIND.ENUMVAL_EXISTS:
    case KIND.ENUMVAL_VALUE: {
      const value = root.kind === 'enum' || root.kind === 'enum64' ? root.values[steps[0] as number] : undefined;
      if (value === undefined) throw fail(`it is about value ${steps[0]} of ${btf.describe(id)}, which has none such.`);
      const exists = !isAbsent && (names[1] !== 'bpf_func_id' || HELPERS.has(Number(value.value)));
      if (kind === KIND.ENUMVAL_EXISTS) return exists ? yes : no;
      return exists ? { value: value.value } : { missing: `${value.name} of ${btf.describe(id)}` };
    }
    default: {
      const field = walk(btf, id, steps, fail);
      const target = missing === undefined && names.includes(CONTEXT) ? inContext(field, steps) : field.bitOffset;
      if (kind === KIND.FIELD_EXISTS) return missing === undefined && target !== undefined ? yes : no;
      if (missing !== undefined || target === undefined) return { missing: field.path };
      return { value: BigInt(fieldValue(btf, kind, { ...field, bitOffset: target }, fail)) };
    }
  }
}

/** Follows a path: an index of the type itself as of an array, then indexes of members and elements. */
function walk(btf: Btf, id: number, steps: readonly number[], fail: (problem: string) => Error): Field {
  const [first = 0, ...rest] = steps;
  let field: Field = {
    path: btf.describe(id),
    type: btf.resolve(id),
    member: undefined,
    bitOffset: first === 0 ? 0 : first * btf.size(id) * 8,
  };
  for (const step of rest) {
    const { type, path, bitOffset } = field;
    if (type.kind === 'array') {
      const offset = bitOffset + step * btf.size(type.type) * 8;
      field = { path: `${path}[${step}]`, type: btf.resolve(type.type), member: undefined, bitOffset: offset };
      continue;
    }
    const member = type.kind === 'struct' || type.kind === 'union' ? type.members[step] : undefined;
    if (member === undefined) throw fail(`it is about member ${step} of ${path}, which has none such.`);
    const name = member.name === '' ? path : `${path}.${member.name}`;
    field = { path: name, type: btf.resolve(member.type), member, bitOffset: bitOffset + member.bitOffset };
  }
  return field;
}

/** Bit offset of a field of the context; undefined when the dataplane's has none of that name and size. */
function inContext({ member, type }: Field, steps: readonly number[]): number | undefined {
  const index = CONTEXT_FIELDS.indexOf(member?.name ?? '');
  const isWord = type.kind === 'int' && type.bytes === 4 && member?.bits === 0;
  return steps.length === 2 && steps[0] === 0 && index >= 0 && isWord ? index * 32 : undefined;
}

function fieldValue(btf: Btf, kind: number, field: Field, fail: (problem: string) => Error): number {
  const { type, member, bitOffset, path } = field;
  let bytes = btf.size(type.id);
  let start = Math.floor(bitOffset / 8);
  const bits = member?.bits || bytes * 8;
  if ((member?.bits ?? 0) !== 0) {
    // It is read by the smallest aligned word that has all of it.
    const align = (): number => Math.floor(bitOffset / 8 / bytes) * bytes;
    if (bytes === 0 || bytes > WORD_BYTES) throw fail(`${path} is a bitfield of ${bytes} bytes.`);
    for (start = align(); bitOffset + bits > (start + bytes) * 8; start = align()) {
      bytes *= 2;
      if (bytes > WORD_BYTES) throw fail(`${path} is a bitfield that lies in no ${WORD_BYTES} bytes.`);
    }
  }
  switch (kind) {
    case KIND.FIELD_BYTE_OFFSET:
      return start;
    case KIND.FIELD_BYTE_SIZE:
      return bytes;
    case KIND.FIELD_SIGNED:
      return 'signed' in type && type.signed ? 1 : 0;
    case KIND.FIELD_LSHIFT_U64:
      return 64 - (bitOffset + bits - start * 8);
    case KIND.FIELD_RSHIFT_U64:
      return 64 - bits;
    default:
      throw fail(`it is of kind ${kind}. Kinds are 0 to ${KIND.TYPE_MATCHES}.`);
  }
}

/** A call of what is not there, in the place of an instruction. */
const MISSING_CALL: Instruction = { opcode: OP_CALL, dst: 0, src: 0, offset: 0, imm: MISSING_TYPE };

/** Puts such a call into the instruction at `pc`, and gives the numbers of those that it has changed. */
export function removeCore(code: Instruction[], pc: number): number[] {
  const pcs = code[pc]?.opcode === OP_LDDW && pc + 1 < code.length ? [pc, pc + 1] : [pc];
  for (const changed of pcs) code[changed] = MISSING_CALL;
  return pcs;
}

/** Puts the result of a relocation into the instruction at `pc`. */
export function patchCore(code: Instruction[], pc: number, value: bigint, fail: (problem: string) => Error): void {
  const instruction = code[pc] as Instruction;
  const { opcode } = instruction;
  const [kind, next] = [opcodeClass(opcode), code[pc + 1]];
  const isConstant = (kind === CLASS.ALU || kind === CLASS.ALU64) && (opcode & SOURCE_REGISTER) === 0;
  if (opcode === OP_LDDW && next !== undefined) {
    code[pc] = { ...instruction, imm: Number(BigInt.asIntN(32, value)) };
    code[pc + 1] = { ...next, imm: Number(BigInt.asIntN(32, value >> 32n)) };
  } else if (isConstant && value >= -(2n ** 31n) && value < 2n ** 32n) {
    code[pc] = { ...instruction, imm: Number(BigInt.asIntN(32, value)) };
  } else if ((kind === CLASS.LDX || kind === CLASS.ST || kind === CLASS.STX) && value >= 0n && value < 2n ** 15n) {
    code[pc] = { ...instruction, offset: Number(value) };
  } else {
    throw fail(`${value} does not fit an instruction of opcode 0x${opcode.toString(16)}.`);
  }
}
