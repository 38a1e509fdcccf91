import {
  CTX_REDIRECT_FLAGS,
  CTX_REDIRECT_KEY,
  CTX_REDIRECT_KIND,
  CTX_REDIRECT_MAP,
  CTX_REDIRECT_PROGRAM,
  CTX_REDIRECT_TARGET,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_XSKMAP,
  XDP_REDIRECT,
} from '../layout.ts';
import { ATOMIC_OP, OP, VALUE } from './encoder.ts';
import type { MapConstants, Writer } from './writer.ts';

/** Flags that say what to answer when nothing lies under the key, and nothing else. */
const ACTION_MASK = 3;
/** Of a value that is an interface and a program, both u32. */
const WIDE = 8;

/** Writes `words` of the context: a number, or a local. */
function writeWords({ code, locals }: Writer, words: readonly (readonly [offset: number, write: () => void])[]): void {
  for (const [offset, write] of words) {
    code.get(locals.context);
    write();
    code.access(OP.I32_STORE, offset);
  }
}

/**
 * Writes redirect_map to what lies in an array that is known, in place, as `redirectMap` of the kernel does it. Returns false,
 * and writes nothing, when the map or the flags leave that to the kernel.
 */
export function writeRedirect(writer: Writer, map: MapConstants): boolean {
  const { code, index, number, words } = writer;
  const flags = writer.state?.of(3);
  const isArray = map.kind === KIND_DEVMAP || map.kind === KIND_CPUMAP || map.kind === KIND_XSKMAP;
  if (!isArray || flags?.tag !== 'constant' || flags.value < 0 || flags.value > ACTION_MASK) return false;
  const [word] = words;
  const isWide = map.valueBytes >= WIDE;
  const constant = (value: number) => (): void => {
    code.i32(value | 0);
  };
  const local = (from: number) => (): void => {
    code.get(from);
  };
  writer.getLow(2);
  code
    .tee(index)
    .i32(map.maxEntries | 0)
    .op(OP.I32_LT_U);
  writer.if(VALUE.I64);
  code
    .get(index)
    .i32(map.stride)
    .op(OP.I32_MUL)
    .i32(map.values | 0)
    .op(OP.I32_ADD);
  if (isWide) code.atomic(ATOMIC_OP.LOAD64, 3);
  else code.atomic(ATOMIC_OP.LOAD32, 2).op(OP.I64_EXTEND_I32_U);
  writer.else();
  code.i64(0n);
  writer.end();
  code.tee(word).op(OP.I32_WRAP_I64).tee(number);
  writer.if();
  writeWords(writer, [
    [CTX_REDIRECT_KIND, constant(map.kind)],
    [CTX_REDIRECT_TARGET, local(map.kind === KIND_CPUMAP ? index : number)],
    [CTX_REDIRECT_MAP, constant(map.address)],
    [CTX_REDIRECT_KEY, local(index)],
    [CTX_REDIRECT_PROGRAM, () => code.get(word).i64(32n).op(OP.I64_SHR_U, OP.I32_WRAP_I64)],
  ]);
  code.i64(BigInt(XDP_REDIRECT)).set(writer.register(0));
  writer.else();
  writeWords(
    writer,
    [CTX_REDIRECT_KIND, CTX_REDIRECT_TARGET, CTX_REDIRECT_MAP, CTX_REDIRECT_KEY, CTX_REDIRECT_PROGRAM].map(
      (offset) => [offset, constant(0)] as const,
    ),
  );
  code.i64(BigInt(flags.value)).set(writer.register(0));
  writer.end();
  writeWords(writer, [[CTX_REDIRECT_FLAGS, constant(0)]]);
  return true;
}
