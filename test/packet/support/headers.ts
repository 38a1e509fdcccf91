import type { Arena } from 'ringway/memory';
import type { PacketKernels } from 'ringway/packet';
import { expect } from 'vitest';

const IPV4 = 1;
const IPV6 = 2;
const FRAGMENT = 4;
const PORTS = 8;

export interface Headers {
  readonly type: number;
  readonly l3: number;
  readonly protocol: number;
  readonly l4: number;
  readonly flags: number;
}

/** What `headers.kernel.ts` must find, told by the bytes alone. */
export function headersOf(frame: Uint8Array): Headers {
  const u8 = (at: number): number => frame[at] as number;
  const u16 = (at: number): number => u8(at) * 256 + u8(at + 1);
  if (frame.length < 14) return { type: 0, l3: 0, protocol: 0, l4: 0, flags: 0 };
  let type = u16(12);
  let l3 = 14;
  let flags = 0;
  while ((type === 0x8100 || type === 0x88a8) && flags < 32 && l3 + 4 <= frame.length) {
    type = u16(l3 + 2);
    l3 += 4;
    flags = flags === 0 ? 16 : 32;
  }
  const found = { type, l3, protocol: 0, l4: 0, flags };
  let protocol: number;
  let l4: number;
  if (type === 0x0800) {
    if (frame.length < l3 + 20 || u8(l3) >>> 4 !== 4) return found;
    l4 = l3 + (u8(l3) & 15) * 4;
    if (l4 < l3 + 20 || l4 > frame.length) return found;
    protocol = u8(l3 + 9);
    flags |= IPV4;
    if ((u16(l3 + 6) & 0x3fff) !== 0) return { type, l3, protocol, l4: 0, flags: flags | FRAGMENT };
  } else if (type === 0x86dd) {
    if (frame.length < l3 + 40 || u8(l3) >>> 4 !== 6) return found;
    flags |= IPV6;
    protocol = u8(l3 + 6);
    l4 = l3 + 40;
    for (let count = 0; [0, 43, 44, 51, 60, 135, 139, 140].includes(protocol); count++) {
      if (count > 8 || l4 + 8 > frame.length) return { type, l3, protocol, l4: 0, flags };
      const next = u8(l4);
      if (protocol === 44 && (u16(l4 + 2) & 0xfff9) !== 0) {
        return { type, l3, protocol: next, l4: 0, flags: flags | FRAGMENT };
      }
      l4 += protocol === 44 ? 8 : protocol === 51 ? (u8(l4 + 1) + 2) * 4 : (u8(l4 + 1) + 1) * 8;
      protocol = next;
      if (l4 > frame.length || count === 8) return { type, l3, protocol, l4: 0, flags };
    }
  } else {
    return found;
  }
  if ([6, 17, 132].includes(protocol) && l4 + 4 <= frame.length) flags |= PORTS;
  return { type, l3, protocol, l4, flags };
}

/** One slot at a time, whose frame ends where the memory ends: whoever reads on traps. */
export function lastFrame(arena: Arena) {
  const slot = arena.allocate('slot', 16);
  const result = arena.allocate('result', 8);
  const kernels = arena.kernels<PacketKernels>();
  return {
    slot,
    kernels,
    put(frame: Uint8Array): void {
      const at = arena.bytes - frame.length;
      arena.u8.set(frame, at);
      const offset = 256;
      arena.u32.set([at - offset, offset + frame.length * 65536, 0xaaaaaaaa, 0xbbbbbbbb], slot >>> 2);
    },
    headers(): Headers {
      kernels.packetHeaders(slot, result);
      const low = arena.u32[result >>> 2] ?? 0;
      const high = arena.u32[(result + 4) >>> 2] ?? 0;
      return {
        type: low & 0xffff,
        l3: (low >>> 16) & 255,
        protocol: low >>> 24,
        l4: high & 0xffff,
        flags: high >>> 16,
      };
    },
    flow(): number {
      kernels.packetFlowHash(slot, 1);
      expect(arena.u32[(slot + 12) >>> 2]).toBe(0xbbbbbbbb);
      return arena.u32[(slot + 8) >>> 2] ?? 0;
    },
    toeplitz(key: number): number {
      kernels.packetToeplitz(slot, 1, key);
      return arena.u32[(slot + 8) >>> 2] ?? 0;
    },
  };
}
