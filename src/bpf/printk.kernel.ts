import { CTX_CPU, CTX_LOG, CTX_PROGRAM } from './layout.ts';
import { beginRecord, endRecord, putBytes, putWord } from './maps/byte-ring.kernel.ts';
import { fail } from './maps/key.kernel.ts';
import { ERRNO_INVAL, LOG_FORMAT_MAX, LOG_NUMBERS, LOG_NUMBERS_MAX, NONE } from './maps/layout.ts';

const PERCENT: u32 = 0x25;

/**
 * Bytes of the format before the zero that ends it, when it asks for no more than `count` numbers; NONE when it is no
 * format: without a zero, too long, or with bytes that are no text.
 */
function formatBytes(format: u32, size: u32, count: u32): u32 {
  let wanted: u32 = 0;
  for (let at: u32 = 0; at < min(size, LOG_FORMAT_MAX); at++) {
    const byte: u32 = load<u8>(format + at);
    if (byte === 0) return wanted <= count ? at : NONE;
    // Tab to carriage return are spaces too.
    if ((byte < 0x20 && (byte < 9 || byte > 13)) || byte > 0x7e) return NONE;
    if (byte !== PERCENT) continue;
    if (at + 1 < size && load<u8>(format + at + 1) === PERCENT) at++;
    else wanted++;
  }
  return NONE;
}

/** Puts what a program says into its log, to be put together when it is read. */
function log(ctx: u32, bytes: u32, count: u32): u32 {
  const ring = load<u32>(ctx, CTX_LOG);
  if (ring === 0) return NONE;
  const position = beginRecord(ring, LOG_NUMBERS + (count << 3) + bytes);
  if (position === NONE) return NONE;
  let at = putWord(ring, position, load<u32>(ctx, CTX_PROGRAM));
  at = putWord(ring, at, load<u32>(ctx, CTX_CPU));
  at = putWord(ring, at, bytes);
  return putWord(ring, at, count);
}

function putNumber(ring: u32, position: u32, number: u64): u32 {
  return putWord(ring, putWord(ring, position, <u32>number), <u32>(number >> 32));
}

/**
 * bpf_trace_printk: `a`, `b` and `c` in the format of `size` bytes at `format`. Bytes of the format, whether there was room
 * in the log or not; -EINVAL when it is no text with a zero at its end, or asks for more numbers.
 */
export function tracePrintk(ctx: u32, format: u32, size: u32, a: u64, b: u64, c: u64): i64 {
  const bytes = formatBytes(format, size, 3);
  if (bytes === NONE) return fail(ERRNO_INVAL);
  let at = log(ctx, bytes, 3);
  if (at !== NONE) {
    const ring = load<u32>(ctx, CTX_LOG);
    at = putNumber(ring, putNumber(ring, putNumber(ring, at, a), b), c);
    putBytes(ring, at, format, bytes);
    endRecord(ring, LOG_NUMBERS + 24 + bytes);
  }
  return bytes;
}

/**
 * bpf_trace_vprintk: as `tracePrintk`, with the numbers in the `dataBytes` bytes at `data`, 8 each, at most 12; -EINVAL when
 * there are more.
 */
export function traceVprintk(ctx: u32, format: u32, size: u32, data: u32, dataBytes: u32): i64 {
  if (dataBytes > LOG_NUMBERS_MAX << 3 || (dataBytes & 7) !== 0 || (data === 0 && dataBytes !== 0)) {
    return fail(ERRNO_INVAL);
  }
  const bytes = formatBytes(format, size, dataBytes >>> 3);
  if (bytes === NONE) return fail(ERRNO_INVAL);
  const at = log(ctx, bytes, dataBytes >>> 3);
  if (at !== NONE) {
    const ring = load<u32>(ctx, CTX_LOG);
    putBytes(ring, putBytes(ring, at, data, dataBytes), format, bytes);
    endRecord(ring, LOG_NUMBERS + dataBytes + bytes);
  }
  return bytes;
}
