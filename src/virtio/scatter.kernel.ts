// A packet of any number of buffers into any number of segments.

import { nextBuffer } from '../memory/chain.kernel.ts';
import { copyBytes } from '../memory/copy.kernel.ts';
import { BUFFER_LENGTH, BUFFER_OFFSET, SLOT_BUFFER, SLOT_LENGTH, SLOT_OFFSET } from '../memory/layout.ts';
import { NETQ_HEADER, NETQ_HEADER_BYTES, SEGMENT_ADDRESS, SEGMENT_LENGTH, SEGMENT_SHIFT } from './layout.ts';
import { writeHeader } from './net-header.kernel.ts';

/**
 * Writes the header of the packet at `slot` and copies its frame into the writable segments from `segment` on, of `used`
 * chains, which have room for the `bytes` bytes of both.
 */
export function scatter(netq: u32, slot: u32, segment: u32, used: u32, bytes: u32): void {
  const headerBytes = load<u32>(netq, NETQ_HEADER_BYTES);
  let target = load<u32>(segment, SEGMENT_ADDRESS);
  let room = load<u32>(segment, SEGMENT_LENGTH);
  let at = segment + (1 << SEGMENT_SHIFT);
  let left = bytes;
  let source = netq + NETQ_HEADER;
  let sourceLeft: u32 = 0;
  if (room < headerBytes) {
    // 2.6.4: it may be cut anywhere.
    writeHeader(netq, slot, source, used);
    sourceLeft = headerBytes;
  } else {
    writeHeader(netq, slot, target, used);
    target += headerBytes;
    room -= headerBytes;
    left -= headerBytes;
  }
  let buffer: u32 = 0;
  while (left > 0) {
    while (room === 0) {
      target = load<u32>(at, SEGMENT_ADDRESS);
      room = load<u32>(at, SEGMENT_LENGTH);
      at += 1 << SEGMENT_SHIFT;
    }
    while (sourceLeft === 0) {
      if (buffer === 0) {
        buffer = load<u32>(slot, SLOT_BUFFER);
        source = buffer + load<u16>(slot, SLOT_OFFSET);
        sourceLeft = load<u16>(slot, SLOT_LENGTH);
      } else {
        buffer = nextBuffer(slot, buffer);
        source = buffer + load<u16>(buffer, BUFFER_OFFSET);
        sourceLeft = load<u16>(buffer, BUFFER_LENGTH);
      }
    }
    const n = min(min(sourceLeft, room), left);
    copyBytes(target, source, n);
    source += n;
    sourceLeft -= n;
    target += n;
    room -= n;
    left -= n;
  }
}
