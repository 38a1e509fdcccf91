import type { Arena } from '../memory/arena.ts';

/** One queue of an interface, served by one thread. Packets are slots, as everywhere. */
export interface NetifQueue {
  /** OFFLOAD_… that the kernel finishes. */
  readonly offloads: number;
  /** Writes up to `max` (1 to 32) packets to `slots`. Returns how many. */
  receive(slots: number, max: number): number;
  /** Takes the first packets of `count` at `slots`. Returns how many; the rest stay the caller's. */
  send(slots: number, count: number): number;
  /** Packets taken that the kernel has not sent. */
  unsent(): number;
  /** What is wrong with the interface, in a sentence. */
  fault(): string | undefined;
  /** Gives back what it holds. */
  close(): void;
}

/** A counter of dropped packets that kernels add to: a u32 at `address`. */
export interface DropWord {
  readonly address: number;
  /** DROP_…. */
  readonly reason: number;
  /** They were to be sent; else they came in. */
  readonly isSent: boolean;
}

/** Tells of drops that were counted since the last call. */
export function dropReporter(
  arena: Arena,
  words: readonly DropWord[],
  refuse: (reason: number, n: number) => void,
  lost: (reason: number, n: number) => void,
): () => void {
  const seen = words.map(({ address }) => arena.u32[address >>> 2] ?? 0);
  return () => {
    for (const [i, { address, reason, isSent }] of words.entries()) {
      const now = arena.u32[address >>> 2] ?? 0;
      const n = (now - (seen[i] ?? 0)) >>> 0;
      if (n === 0) continue;
      seen[i] = now;
      if (isSent) lost(reason, n);
      else refuse(reason, n);
    }
  };
}
