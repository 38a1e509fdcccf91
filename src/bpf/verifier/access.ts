import { KIND_DEVMAP, KIND_DEVMAP_HASH, MAP_FLAG_RDONLY_PROG, MAP_FLAG_WRONLY_PROG } from '../layout.ts';
import type { ProgramType } from '../program.ts';
import { offsetText, registerText, scalarText } from './describe.ts';
import { type Operand, Refusal } from './refusal.ts';
import { Extent, Register, scalarRegister } from './register.ts';
import { constant, isConstant, type Scalar, unknownOf } from './scalar.ts';
import { demandNoLock } from './spin-lock.ts';
import type { State } from './state.ts';
import { tnumAdd, tnumConstant, tnumIsAligned } from './tnum.ts';

const STACK_BYTES = 512;
/** As far as an address may be moved at run time (Linux BPF_MAX_VAR_OFF). */
const OFFSET_MAX = 1n << 29n;
/** Of struct xdp_md (Linux include/uapi/linux/bpf.h). */
const CONTEXT_BYTES = 24;
const FIELD_BYTES = 4;
const POINTER_FIELDS: Readonly<Record<number, 'packet' | 'packet_end' | 'packet_meta'>> = {
  0: 'packet',
  4: 'packet_end',
  8: 'packet_meta',
};
const EGRESS_IFINDEX = 20;

/** How memory is reached. */
export interface Access {
  readonly pointer: Operand;
  /** Of the instruction: beside what the pointer has. */
  readonly offset: number;
  readonly bytes: number;
  readonly write: boolean;
  /** An atomic: it must be aligned, and the packet takes none. */
  readonly isAtomic?: boolean;
}

const plural = (count: number): string => `${count} byte${count === 1 ? '' : 's'}`;
const be = (count: number): string => (count === 1 ? 'is' : 'are');
const verb = ({ write }: Access): string => (write ? 'written' : 'read');
/** `is read`, `are written`. */
const done = (access: Access): string => `${be(access.bytes)} ${verb(access)}`;

/** Says no to what no memory allows: pointers that may be null, numbers, the end of the packet. */
function demandPointer(access: Access): void {
  const { number, register } = access.pointer;
  const name = `r${number}`;
  if (register.type === 'uninitialised') {
    const why = `${name} is used as an address, and nothing was written to it on this path.`;
    throw new Refusal('uninitialised-register', why, `Give ${name} a value on every path that leads here.`, number);
  }
  if (register.type === 'scalar') {
    const isStale = register.lost !== undefined;
    const why = isStale
      ? `${name} is used as an address, but ${register.lost}.`
      : `${name} is used as an address, but it is a number: ${scalarText(register.scalar)}.`;
    const missing = isStale
      ? 'Read data and data_end of the context again after that call, and compare them again: `if (data + N > data_end) return XDP_DROP;`.'
      : 'An address comes from the context, the stack, a map look-up or a reserved record, and from nothing else.';
    throw new Refusal(isStale ? 'stale-pointer' : 'not-a-pointer', why, missing, number);
  }
  if (register.mayBeNull) {
    const why = `${name} may be null: it is ${registerText(register, 0)}.`;
    throw new Refusal(
      'null-pointer',
      why,
      'Look first: `if (!value) return XDP_ABORTED;`, on the pointer as the call gave it.',
      number,
    );
  }
}

/** The lowest and highest place that is reached, beside the pointer's beginning. */
function reachOf({ pointer, offset, bytes }: Access): { low: bigint; high: bigint } {
  const fixed = BigInt(pointer.register.offset + offset);
  const { smin, umax } = pointer.register.scalar;
  return { low: smin + fixed, high: umax + fixed + BigInt(bytes) };
}

/** Says no when what is added at run time is not bounded. `write`: how to write a bound. */
function demandBounded({ pointer: { number, register } }: Access, bound: string): void {
  const { scalar } = register;
  if (isConstant(scalar)) return;
  const amount = scalarText(scalar);
  if (scalar.smin < 0n) {
    const why = `r${number} is ${registerText(register, 0)}; what was added to it may be negative (${amount}).`;
    throw new Refusal('unbounded-offset', why, `Use an unsigned number and bound it first: ${bound}.`, number);
  }
  if (scalar.umax >= OFFSET_MAX) {
    const why = `r${number} is ${registerText(register, 0)}; what was added to it has no upper bound (${amount}).`;
    throw new Refusal('unbounded-offset', why, `Bound it before it is added: ${bound}.`, number);
  }
}

function checkPacket(access: Access): void {
  const { pointer, bytes } = access;
  const { register, number } = pointer;
  demandBounded(access, '`if (length > 1500) return XDP_DROP;`, or `length &= 0x7ff`');
  if (access.isAtomic === true) {
    const why = 'an atomic operation is done in the packet, which need not be aligned.';
    throw new Refusal('atomic', why, 'Use plain loads and stores there: no other CPU has this packet.', number);
  }
  const fixed = register.offset + access.offset;
  if (fixed >= 0 && fixed + bytes <= register.knownRange) {
    register.extent?.note(fixed);
    return;
  }
  const what = register.type === 'packet' ? 'packet' : 'metadata';
  if (fixed < 0) {
    const why = `${plural(bytes)} of the ${what} ${done(access)} at offset ${fixed}, which is before it.`;
    const advice =
      register.type === 'packet'
        ? 'To go before data, use bpf_xdp_adjust_head or data_meta.'
        : 'Metadata begin at data_meta.';
    throw new Refusal('packet-bounds', why, advice, number);
  }
  const known =
    register.knownRange === 0
      ? 'nothing says that there are any'
      : `only ${plural(register.knownRange)} ${be(register.knownRange)} known to be there`;
  const base = offsetText(register.with({ offset: 0 }));
  const why = `${plural(bytes)} of the ${what}${base} ${done(access)} at offset ${fixed}, and ${known}.`;
  const end = register.type === 'packet' ? 'data_end' : 'data';
  const start = base === '' ? (register.type === 'packet' ? 'data' : 'data_meta') : 'pointer';
  const same =
    base === '' ? '' : ' Compare this very pointer: another one with the same number added is another pointer.';
  throw new Refusal(
    'packet-bounds',
    why,
    `Compare with ${end} first: \`if (${start} + ${fixed + bytes} > ${end}) return XDP_DROP;\`.${same}`,
    number,
  );
}

/** What a value of a map, or a record, has room for. */
function checkSized(access: Access, limit: number, what: string, reason: 'map-bounds' | 'memory-bounds'): void {
  const { pointer, bytes } = access;
  const { register, number } = pointer;
  const { low, high } = reachOf(access);
  if (register.scalar.smin < 0n && low >= 0n && high <= BigInt(limit)) return;
  demandBounded(
    access,
    `\`if (index >= ${Math.max(1, Math.floor(limit / Math.max(1, bytes)))}) return XDP_DROP;\` or \`index &= …\``,
  );
  if (low >= 0n && high <= BigInt(limit)) return;
  const place = low === high - BigInt(bytes) ? `at offset ${low}` : `at offsets ${low} to ${high - BigInt(bytes)}`;
  const why = `${plural(bytes)} ${done(access)} ${place} of ${what}, which has ${plural(limit)}.`;
  const missing = isConstant(register.scalar)
    ? `Stay below ${limit}, or make it larger.`
    : `Bound what is added, so that offset + ${bytes} is at most ${limit}: \`if (offset > ${limit - bytes}) return XDP_DROP;\`.`;
  throw new Refusal(reason, why, missing, number);
}

function checkMapValue(access: Access): void {
  const { register, number } = access.pointer;
  const map = register.map;
  if (map === undefined) return;
  const isDevice = map.kind === KIND_DEVMAP || map.kind === KIND_DEVMAP_HASH;
  if (access.write && (isDevice || (map.flags & MAP_FLAG_RDONLY_PROG) !== 0)) {
    const why = `map ${map.name} is written, which programs may only read.`;
    throw new Refusal(
      'access-rights',
      why,
      'Write to a map without BPF_F_RDONLY_PROG; constants are in .rodata, variables in .data and .bss.',
      number,
    );
  }
  if (!access.write && (map.flags & MAP_FLAG_WRONLY_PROG) !== 0) {
    const why = `map ${map.name} is read, which programs may only write.`;
    throw new Refusal('access-rights', why, 'Make the map without BPF_F_WRONLY_PROG.', number);
  }
  checkSized(access, map.valueBytes, `a value of map ${map.name}`, 'map-bounds');
  const { low, high } = reachOf(access);
  demandNoLock(map, low, high, number);
}

function checkMapKey(access: Access): void {
  const { register, number } = access.pointer;
  const { map } = register;
  if (map === undefined) return;
  if (access.write) {
    const why = `a key of map ${map.name} is written.`;
    throw new Refusal('access-rights', why, 'Copy it to a variable; the entry stays where it is.', number);
  }
  checkSized(access, map.keyBytes, `a key of map ${map.name}`, 'map-bounds');
}

function checkContext({ pointer, offset, bytes, write }: Access, type: ProgramType): void {
  const { register, number } = pointer;
  const refuse = (why: string, missing: string): never => {
    throw new Refusal('context-access', why, missing, number);
  };
  if (!isConstant(register.scalar))
    refuse('the context is reached at an offset that is not constant.', 'Name the field: `ctx->data`.');
  const at = register.offset + offset + Number(register.scalar.smin);
  if (write)
    refuse(
      'the context is written.',
      'Helpers change the packet: bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail.',
    );
  if (at < 0 || at + bytes > CONTEXT_BYTES) {
    refuse(
      `${plural(bytes)} of the context ${be(bytes)} read at offset ${at}. struct xdp_md has ${CONTEXT_BYTES}.`,
      'Use its six fields only.',
    );
  }
  if (bytes !== FIELD_BYTES || at % FIELD_BYTES !== 0) {
    refuse(
      `${plural(bytes)} of the context ${be(bytes)} read at offset ${at}.`,
      'Its fields are u32: read each one whole.',
    );
  }
  if (at === EGRESS_IFINDEX && type !== 'xdp/devmap') {
    refuse('egress_ifindex is read.', 'Only programs of section xdp/devmap have it.');
  }
}

/** Where on the stack an access lies, offsets from `low` to `high` - 1; notes how deep that is. @throws Refusal */
export function stackReach(state: State, access: Access): { low: number; high: number } {
  const reach = checkStack(access);
  const usage = state.frames[access.pointer.register.frame]?.usage;
  if (usage !== undefined) usage.bytes = Math.max(usage.bytes, -reach.low);
  return reach;
}

function checkStack(access: Access): { low: number; high: number } {
  const { register, number } = access.pointer;
  const { low, high } = reachOf(access);
  if (!isConstant(register.scalar) && (register.scalar.smin < -OFFSET_MAX || register.scalar.umax >= OFFSET_MAX)) {
    const why = `r${number} is ${registerText(register, 0)}; what was added to it is not bounded.`;
    throw new Refusal('unbounded-offset', why, 'Bound it before it is added: `index &= 7`.', number);
  }
  if (low < -BigInt(STACK_BYTES) || high > 0n) {
    const where =
      low === high - BigInt(access.bytes) ? `offset ${low}` : `offsets ${low} to ${high - BigInt(access.bytes)}`;
    const why = `${plural(access.bytes)} of the stack ${done(access)} at ${where}. It lies from -${STACK_BYTES} to -1.`;
    const missing = 'Stay within it: use smaller variables, bound indexes, or keep large ones in a PERCPU_ARRAY.';
    throw new Refusal('stack-bounds', why, missing, number);
  }
  return { low: Number(low), high: Number(high) };
}

function checkAlignment({ pointer, offset, bytes, isAtomic }: Access): void {
  const { register, number } = pointer;
  if (register.type !== 'stack' && isAtomic !== true) return;
  const bits = tnumAdd(register.scalar.bits, tnumConstant(BigInt(register.offset + offset)));
  if (tnumIsAligned(bits, bytes)) return;
  const what = isAtomic === true ? 'an atomic operation' : 'an access to the stack';
  const why = `${what} of ${plural(bytes)} is at offset${offsetText(register.with({ offset: register.offset + offset }))}, not at a multiple of ${bytes}.`;
  throw new Refusal(
    'alignment',
    why,
    `Align what is there: \`__attribute__((aligned(${bytes})))\`, without \`packed\`.`,
    number,
  );
}

/**
 * Checks an access of a program to memory.
 * @param type of the program: only some see all fields of the context.
 * @throws Refusal
 */
export function checkAccess(access: Access, type: ProgramType): void {
  demandPointer(access);
  const { register, number } = access.pointer;
  checkAlignment(access);
  switch (register.type) {
    case 'packet':
    case 'packet_meta':
      checkPacket(access);
      break;
    case 'map_value':
      checkMapValue(access);
      break;
    case 'map_key':
      checkMapKey(access);
      break;
    case 'memory':
      checkSized(access, register.bytes, 'a record', 'memory-bounds');
      break;
    case 'stack':
      checkStack(access);
      break;
    case 'context':
      checkContext(access, type);
      break;
    default: {
      const why = `memory is ${verb(access)} through r${number}, which is ${registerText(register, 0)}.`;
      throw new Refusal('not-a-pointer', why, 'It can be compared or given to a helper, not followed.', number);
    }
  }
}

/** What a load from the context gives: its first three fields are addresses. */
function contextField(register: Register, offset: number): Register {
  const type = POINTER_FIELDS[register.offset + offset + Number(register.scalar.smin)];
  return type === undefined ? scalarRegister(unknownOf(FIELD_BYTES)) : new Register({ type, extent: new Extent() });
}

/** What is in a map that nobody changes, at a place that is known; else what so many bytes may be. */
function mapContent({ pointer: { register }, offset, bytes }: Access): Scalar {
  const { map, scalar } = register;
  const isFixed = map?.initial !== undefined && (map.flags & MAP_FLAG_RDONLY_PROG) !== 0 && isConstant(scalar);
  if (!isFixed || map?.initial === undefined) return unknownOf(bytes);
  const at = register.offset + offset + Number(scalar.smin);
  let value = 0n;
  for (let index = bytes - 1; index >= 0; index--) value = (value << 8n) | BigInt(map.initial[at + index] ?? 0);
  return constant(value);
}

/** What a load gives that `checkAccess` allowed. @throws Refusal on a part of a pointer. */
export function loadFrom(state: State, access: Access): Register {
  const { pointer, offset, bytes } = access;
  const { register } = pointer;
  if (register.type === 'context') return contextField(register, offset);
  if (register.type === 'map_value') return scalarRegister(mapContent(access));
  if (register.type !== 'stack') return scalarRegister(unknownOf(bytes));
  const { low, high } = stackReach(state, access);
  const stack = state.frames[register.frame]?.stack;
  if (high - low > bytes || stack === undefined) {
    stack?.markRead(low, high - low);
    return scalarRegister(unknownOf(bytes));
  }
  const found = stack.load(low, bytes);
  if ('register' in found) return found.register;
  const why = `${plural(bytes)} of the stack ${be(bytes)} read at offset ${low}, and a pointer lies there.`;
  throw new Refusal('partial-pointer', why, 'Read all 8 bytes of it.', pointer.number);
}

/** Stores a register where `checkAccess` allowed it. @throws Refusal on a part of a pointer, or one that outlives its stack. */
export function storeTo(state: State, access: Access, value: Operand): void {
  const { pointer, bytes } = access;
  const { register } = pointer;
  if (register.type !== 'stack') return;
  const { low, high } = stackReach(state, access);
  const { isPointer, type } = value.register;
  if (isPointer && bytes !== 8) {
    const why = `${plural(bytes)} of r${value.number}, which is ${registerText(value.register, state.frames.length - 1)}, ${be(bytes)} put on the stack.`;
    throw new Refusal('partial-pointer', why, 'Store all 8 bytes of a pointer.', value.number);
  }
  if (type === 'stack' && register.frame !== state.frames.length - 1) {
    const why = `the address of a stack is put on the stack of a caller (r${value.number}).`;
    throw new Refusal('stack-escape', why, 'Let the caller have the variable, and pass its address.', value.number);
  }
  const stack = state.frames[register.frame]?.stack;
  if (high - low > bytes) stack?.scramble(low, high - low);
  else stack?.store(low, bytes, value.register);
}
