import type { Register, RegisterType } from './register.ts';
import { AT_END, BEYOND_END } from './register.ts';
import { isConstant, S64_MAX, S64_MIN, type Scalar, U32_MAX, U64_MAX } from './scalar.ts';
import { FRAME_POINTER, type State } from './state.ts';

const LARGE = 1n << 16n;

/** `-5`, `1000`, `0xffff0000`: small numbers in tens. */
function numberText(value: bigint): string {
  const size = value < 0n ? -value : value;
  if (size < LARGE) return `${value}`;
  return value < 0n ? `-0x${size.toString(16)}` : `0x${value.toString(16)}`;
}

/** `7`, `0 to 255`, `-1 to 4, even`, `any number`. */
export function scalarText(scalar: Scalar): string {
  if (isConstant(scalar)) return numberText(scalar.smin);
  const { umin, umax, smin, smax, u32Min, u32Max, bits } = scalar;
  const parts: string[] = [];
  if (smin < 0n && (smin > S64_MIN || smax < S64_MAX)) parts.push(`${numberText(smin)} to ${numberText(smax)}`);
  else if (umin > 0n || umax < U64_MAX) parts.push(`${numberText(umin)} to ${numberText(umax)}`);
  if (parts.length === 0 && (u32Min > 0 || u32Max < U32_MAX)) {
    parts.push(`any number whose lower half is ${numberText(BigInt(u32Min))} to ${numberText(BigInt(u32Max))}`);
  }
  if (parts.length === 0) parts.push('any number');
  let zeroes = 0;
  while (zeroes < 64 && ((bits.value | bits.mask) & (1n << BigInt(zeroes))) === 0n) zeroes++;
  if (zeroes > 0) parts.push(`a multiple of ${numberText(1n << BigInt(zeroes))}`);
  return parts.join(', ');
}

const NAMES: Readonly<Record<RegisterType, string>> = {
  uninitialised: 'not written',
  scalar: 'a number',
  context: 'the context',
  packet: 'packet data',
  packet_meta: 'packet metadata',
  packet_end: 'the end of the packet',
  map: 'map',
  map_key: 'a key of map',
  map_value: 'a value of map',
  stack: 'the stack',
  memory: 'a record of a ring buffer',
  socket: 'a socket of an XSKMAP',
  function: 'a function',
};

const signed = (offset: number): string => (offset === 0 ? '' : offset < 0 ? ` - ${-offset}` : ` + ${offset}`);

/** What is added to a pointer: ` + 14 + (0 to 60)`. */
export function offsetText({ offset, scalar }: Register): string {
  return `${signed(offset)}${isConstant(scalar) && scalar.umin === 0n ? '' : ` + (${scalarText(scalar)})`}`;
}

function rangeText(register: Register): string {
  if (register.range === AT_END) return ', which is the end';
  if (register.range === BEYOND_END) return ', beyond the end';
  const left = register.range - register.offset;
  return `, ${left > 0 ? left : 'no'} byte${left === 1 ? '' : 's'} from there on checked`;
}

/** A register in words: `packet data + 14, 20 bytes from there on checked`. */
export function registerText(register: Register, depth: number): string {
  const { type, map, bytes, frame, lost, mayBeNull } = register;
  const place = offsetText(register);
  switch (type) {
    case 'uninitialised':
      return 'nothing was written to it';
    case 'scalar':
      return `${scalarText(register.scalar)}${lost === undefined ? '' : ` (${lost})`}`;
    case 'map':
      return `map ${map?.name}${mayBeNull ? ' or null' : ''}`;
    case 'map_key':
      return `a key of map ${map?.name}${place} (${map?.keyBytes} bytes)`;
    case 'map_value':
      return `${mayBeNull ? 'null or ' : ''}a value of map ${map?.name}${place} (${map?.valueBytes} bytes)`;
    case 'memory':
      return `${mayBeNull ? 'null or ' : ''}a record of ${bytes} bytes${place}`;
    case 'socket':
      return `${mayBeNull ? 'null or ' : ''}${NAMES.socket}`;
    case 'packet':
    case 'packet_meta':
      return `${NAMES[type]}${place}${rangeText(register)}`;
    case 'stack':
      return `the stack${frame === depth ? '' : ` of the caller ${depth - frame} up`}${place}`;
    default:
      return `${NAMES[type]}${place}`;
  }
}

/** The registers of the function that runs, by name; those that nothing was written to are left out. */
export function registersOf(state: State): Record<string, string> {
  const depth = state.frames.length - 1;
  const found: Record<string, string> = {};
  for (let number = 0; number < FRAME_POINTER; number++) {
    const register = state.register(number);
    if (register.type !== 'uninitialised') found[`r${number}`] = registerText(register, depth);
  }
  return found;
}
