import {
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  BUFFER_TOTAL,
  SLOT_BUFFER,
  SLOT_FLAG_CHAINED,
  SLOT_FLAGS,
} from '../memory/layout.ts';
import { CTX_DATA, CTX_DATA_END, CTX_SLOT } from './layout.ts';

// A packet of several buffers: what a program sees between data and data_end is the first one's part.

/** Bytes of the packet in its first buffer. */
export function firstBytes(ctx: u32): u32 {
  return load<u32>(ctx, CTX_DATA_END) - load<u32>(ctx, CTX_DATA);
}

/** Bytes of the packet, all buffers together. */
export function packetBytes(ctx: u32): u32 {
  const slot = load<u32>(ctx, CTX_SLOT);
  if (slot === 0 || !(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) return firstBytes(ctx);
  return load<u32>(load<u32>(slot, SLOT_BUFFER), BUFFER_TOTAL);
}

/** The second buffer of the packet, or 0. */
export function secondBuffer(ctx: u32): u32 {
  const slot = load<u32>(ctx, CTX_SLOT);
  if (slot === 0 || !(load<u8>(slot, SLOT_FLAGS) & SLOT_FLAG_CHAINED)) return 0;
  return load<u32>(load<u32>(slot, SLOT_BUFFER), BUFFER_NEXT);
}

/** Where the bytes of the second or a later buffer start. */
export function segmentAddress(buffer: u32): u32 {
  return buffer + load<u16>(buffer, BUFFER_OFFSET);
}

/** How many they are. */
export function segmentBytes(buffer: u32): u32 {
  return load<u16>(buffer, BUFFER_LENGTH);
}
