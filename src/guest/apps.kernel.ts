import { copyFrame } from '../memory/copy.kernel.ts';
import { BUFFER_HEADROOM, SLOT_BUFFER, SLOT_LENGTH, SLOT_OFFSET, SLOT_SHIFT } from '../memory/layout.ts';

/** Exchanges destination and source address of `n` frames at `slots`, each of which has both in its first buffer. */
export function swap(slots: u32, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const frame = load<u32>(slot, SLOT_BUFFER) + load<u16>(slot, SLOT_OFFSET);
    const low = load<u64>(frame);
    const high = load<u32>(frame, 8);
    // Six bytes each: the source's first two lie in the upper end of `low`.
    store<u64>(frame, (low >> 48) | ((<u64>high) << 16) | (low << 48));
    store<u32>(frame, <u32>(low >> 16), 8);
  }
}

/** `sum` + `value` in ones' complement, folded to 16 bits (RFC 1071). */
function add16(sum: u32, value: u32): u32 {
  const total = sum + value;
  return (total & 0xffff) + (total >> 16);
}

/**
 * Makes `n` empty packets UDP frames of `length` (up to 1,792) bytes: the first `bytes` of each are those at `template`,
 * whose UDP header lies at `udpAt`, the rest is what the buffer holds. Packet i gets flow `first` + i modulo `flows`, which
 * is added to the template's source port.
 */
export function fillUdp(
  slots: u32,
  n: u32,
  template: u32,
  bytes: u32,
  length: u32,
  udpAt: u32,
  first: u32,
  flows: u32,
): void {
  const port: u32 = bswap<u16>(load<u16>(template + udpAt));
  const checksum: u32 = bswap<u16>(load<u16>(template + udpAt, 6));
  let flow = first;
  for (let i: u32 = 0; i < n; i++) {
    const slot = slots + (i << SLOT_SHIFT);
    const frame = load<u32>(slot, SLOT_BUFFER) + BUFFER_HEADROOM;
    copyFrame(frame, template, bytes);
    store<u16>(frame + udpAt, bswap<u16>(<u16>(port + flow)));
    // RFC 1624, equation 3, for a field that grew by `flow`; 0 would say that there is no checksum (RFC 768).
    const sum = add16(add16(checksum ^ 0xffff, port ^ 0xffff), port + flow) ^ 0xffff;
    store<u16>(frame + udpAt, bswap<u16>(<u16>(sum === 0 ? 0xffff : sum)), 6);
    store<u16>(slot, <u16>length, SLOT_LENGTH);
    flow = flow + 1 === flows ? 0 : flow + 1;
  }
}
