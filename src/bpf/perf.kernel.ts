import { BUFFER_NEXT } from '../memory/layout.ts';
import { CTX_CPU, CTX_DATA, KIND_PERF_EVENT_ARRAY, MAP_CPUS, MAP_KIND, MAP_MAX_ENTRIES } from './layout.ts';
import { beginRecord, endRecord, putBytes } from './maps/byte-ring.kernel.ts';
import { fail } from './maps/key.kernel.ts';
import {
  ERRNO_E2BIG,
  ERRNO_FAULT,
  ERRNO_INVAL,
  ERRNO_NOENT,
  ERRNO_NOSPC,
  ERRNO_OPNOTSUPP,
  NONE,
  PERF_RINGS,
  PERF_SPAN,
} from './maps/layout.ts';
import { firstBytes, packetBytes, secondBuffer, segmentAddress, segmentBytes } from './segments.kernel.ts';

/** BPF_F_INDEX_MASK, which is BPF_F_CURRENT_CPU too, and BPF_F_CTXLEN_MASK (Linux include/uapi/linux/bpf.h). */
const CURRENT_CPU: u32 = 0xffffffff;
const PACKET_SHIFT: u64 = 32;
const PACKET_MAX: u64 = 0xfffff;
/** Bytes of a program's data at most: what does not fit any ring, and adds up to no u32. */
const DATA_MAX: u32 = 0x10000000;

/** Copies the first `bytes` bytes of the packet, of whichever buffers, to a position of a ring. */
function putPacket(ctx: u32, ring: u32, position: u32, bytes: u32): void {
  let n = min(bytes, firstBytes(ctx));
  let at = putBytes(ring, position, load<u32>(ctx, CTX_DATA), n);
  let left = bytes - n;
  let buffer = secondBuffer(ctx);
  while (left !== 0 && buffer !== 0) {
    n = min(left, segmentBytes(buffer));
    at = putBytes(ring, at, segmentAddress(buffer), n);
    left -= n;
    buffer = load<u32>(buffer, BUFFER_NEXT);
  }
}

/**
 * bpf_perf_event_output: an event of the `size` bytes at `data` and as many bytes of the packet as bits 32 to 51 of the
 * flags say, for this CPU. 0; -EINVAL on other flags and maps, -EFAULT when the packet is shorter, -E2BIG when the map has
 * no such CPU, -ENOENT when there is no ring for it, -EOPNOTSUPP on another CPU than this, -ENOSPC when the ring is full.
 */
export function perfEventOutput(ctx: u32, _context: u32, map: u32, flags: u64, data: u32, size: u32): i64 {
  const packet = flags >> PACKET_SHIFT;
  if (load<u32>(map, MAP_KIND) !== KIND_PERF_EVENT_ARRAY || packet > PACKET_MAX) return fail(ERRNO_INVAL);
  if (packet > packetBytes(ctx)) return fail(ERRNO_FAULT);
  const cpu = load<u32>(ctx, CTX_CPU);
  const index = <u32>flags === CURRENT_CPU ? cpu : <u32>flags;
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return fail(ERRNO_E2BIG);
  if (index >= load<u32>(map, MAP_CPUS)) return fail(ERRNO_NOENT);
  if (index !== cpu) return fail(ERRNO_OPNOTSUPP);
  const ring = load<u32>(map, PERF_RINGS) + cpu * load<u32>(map, PERF_SPAN);
  const length = min(size, DATA_MAX) + <u32>packet;
  const position = beginRecord(ring, length);
  if (position === NONE) return fail(ERRNO_NOSPC);
  putPacket(ctx, ring, putBytes(ring, position, data, size), <u32>packet);
  endRecord(ring, length);
  return 0;
}
