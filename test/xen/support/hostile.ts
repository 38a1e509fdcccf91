import { Random } from '#build/util/random.js';
import { NETRING_BYTES } from '#build/xen/layout.js';
import { GATHER_BYTES } from '#build/xen/queue-layout.js';
import { testArena } from '../../support/arena.ts';
import { TracedArena } from '../../support/traced.ts';
import { makeRingRig, RECORD_BYTES, RING_ARENA_BYTES, type RingKernels } from './ring-rig.ts';

interface Window {
  readonly address: number;
  readonly bytes: number;
}

/** Accesses of a call at most: a burst of packets with all their slots, each copied word by word and looked at. */
const ACCESSES = 64 * 640;

/**
 * Runs the side `side` of a ring against somebody who owns the shared page, and writes into it between calls, and just before the
 * side reads. Each access is checked: none leaves what is the side's, and of the shared page no byte is read twice by a
 * gathering. Returns what the side was latched for.
 */
export function runHostile(kind: 'tx' | 'rx', side: 'front' | 'back', seed: number, steps: number): string | undefined {
  const random = new Random(seed);
  const arena = new TracedArena(testArena(RING_ARENA_BYTES));
  const rig = makeRingRig(kind, { arena });
  const { sring, front, back, frontRecords, backRecords, gather } = rig;
  rig.startAt(random.below(2) === 0 ? 0 : 2 ** 32 - 1 - random.below(300));
  const own = side === 'front' ? front : back;
  const records = side === 'front' ? frontRecords : backRecords;
  const windows: Window[] = [
    { address: sring, bytes: 4096 },
    { address: own.address, bytes: NETRING_BYTES },
    { address: records, bytes: 64 * 16 },
    { address: gather, bytes: GATHER_BYTES },
  ];
  const { u8, u16, u32 } = arena;
  const producer = (sring + (side === 'front' ? 8 : 0)) >>> 2;
  const slotBytes = RECORD_BYTES[kind].request;

  // Some peers write anything anywhere; others slots that look like packets, and reach further.
  const isWild = seed % 3 === 1;
  const hasExtras = seed % 3 === 0;

  const poke = (): void => {
    const slot = sring + 64 + (1 + random.below(255)) * slotBytes;
    const roll = random.below(8);
    if (isWild && roll === 0) u8[sring + random.below(4096)] = random.next();
    else if (isWild && roll === 1) u32[producer] = ((u32[producer] ?? 0) + random.below(512) - 128) >>> 0;
    else if (isWild && roll < 4) u32.fill(random.next(), slot >>> 2, (slot + slotBytes) >>> 2);
    else if (hasExtras && roll < 5) {
      // Extra information, and the slot before it says so.
      u8.set([1 + random.below(6), random.below(2), random.below(3), 0, random.below(4)], slot);
      u16[(slot - slotBytes + (kind === 'tx' ? 6 : 4)) >>> 1] = 8;
    } else {
      const flags = isWild ? random.below(16) : random.below(2) * 4;
      const [offset, size] = isWild ? [random.below(5000), random.below(9000)] : [random.below(64), random.below(4000)];
      const place = (slot - sring - 64) / slotBytes;
      if (kind === 'tx') u16.set([offset, flags, random.below(300), size], (slot + 4) >>> 1);
      else u16.set([place, offset, flags, size - (isWild ? 100 : 0)], slot >>> 1);
    }
  };

  let accesses = 0;
  let racing = false;
  const fetched = new Map<number, string>();
  arena.onAccess((address, bytes, access, site) => {
    const where = arena.where(site);
    const isInside = windows.some(
      (window) => address >= window.address && address + bytes <= window.address + window.bytes,
    );
    if (!isInside) throw new Error(`${where}: ${access} of ${bytes} bytes at ${address}, outside the windows`);
    if (++accesses > ACCESSES) throw new Error(`${where}: a call does not end`);
    const isSlot = address >= sring + 64 && address < sring + 4096;
    if (isSlot && access.endsWith('load')) {
      for (let at = address; at < address + bytes; at++) {
        const first = fetched.get(at);
        if (first !== undefined) throw new Error(`${where}: ${at} is read again, after ${first}`);
        fetched.set(at, where);
      }
    }
    if (racing && access.endsWith('load') && address >= sring && address < sring + 4096) {
      if (random.below(4) === 0) poke();
    }
  });
  racing = seed % 2 === 1;

  const k = arena.kernels<RingKernels>();
  const { address } = own;
  for (let step = 0; step < steps; step++) {
    for (let i = random.below(6); i > 0; i--) poke();
    // Most of the time it announces something, so that the side goes on.
    const out = own.outstanding();
    const announced = side === 'front' ? random.below(out + 1) : random.below(own.slots - out + 1);
    const taken = u32[(address + 36) >>> 2] ?? 0;
    if (random.below(16) !== 0) u32[producer] = (taken + announced) >>> 0;
    accesses = 0;
    fetched.clear();
    const max = random.below(33);
    if (side === 'front') {
      k.xenRingPushRequests(address, records, random.below(65));
      fetched.clear();
      if (kind === 'rx') k.xenRxGather(address, gather, max, 640);
      else k.xenRingTakeResponses(address, records, random.below(65));
    } else {
      if (kind === 'tx') k.xenTxGather(address, gather, max, 20 + random.below(620));
      else k.xenRingTakeRequests(address, records, random.below(65));
      k.xenRingPushResponses(address, records, Math.min(64, random.below(own.outstanding() + 1)));
    }
    own.needsNotify();
    own.finalCheck();
    const damaged = arena.damaged();
    if (damaged.length > 0) throw new Error(`damaged: ${damaged.join(', ')}`);
    const broken = own.broken();
    if (broken !== undefined) {
      // Latched, and nothing of the ring is touched any more.
      windows.shift();
      accesses = 0;
      k.xenTxGather(address, gather, 32, 640);
      k.xenRxGather(address, gather, 32, 640);
      k.xenRingTakeRequests(address, records, 64);
      k.xenRingTakeResponses(address, records, 64);
      k.xenRingPushRequests(address, records, 64);
      own.needsNotify();
      own.finalCheck();
      return broken;
    }
  }
  return undefined;
}

/** Runs seeds `from` to `to`. Returns how often each rule was broken. A failure names its seed. */
export function searchHostile(from: number, to: number): Map<string, number> {
  const broken = new Map<string, number>();
  for (let seed = from; seed < to; seed++) {
    const kind = (seed >>> 1) % 2 === 0 ? 'tx' : 'rx';
    const side = (seed >>> 2) % 2 === 0 ? 'back' : 'front';
    try {
      const rule = runHostile(kind, side, seed, 200);
      if (rule !== undefined) broken.set(rule, (broken.get(rule) ?? 0) + 1);
    } catch (cause) {
      throw new Error(`seed ${seed}: ${kind} ring, ${side}: ${cause instanceof Error ? cause.message : cause}`, {
        cause,
      });
    }
  }
  return broken;
}
