import type { Arena } from '../memory/arena.ts';
import type { Histogram } from '../telemetry/histogram.ts';
import type { DomainShare } from '../xen/hypervisor.ts';
import { DOMAIN_UPCALL } from '../xen/layout.ts';
import { XenSide, type XenSideShare } from './xen-side.ts';
import { attachUse, type UseShare } from './xen-use.ts';

/** An end of a queue on a thread of its own. */
export interface XenRole {
  readonly role: 'xen';
  /** Sends as much as it can, receives; or sends a packet at a time and waits for its answer, or answers. */
  readonly does: 'send' | 'receive' | 'ask' | 'answer';
  readonly side: XenSideShare;
  /** Bytes of a packet that it makes, and packets at once. */
  readonly bytes: number;
  readonly use: UseShare;
  /** With nothing to do it sleeps until an event comes; else it looks again. */
  readonly sleeps: boolean;
}

/** What a role came to, beside its windows. */
export interface XenPlayed {
  readonly items: number;
  readonly slept: number;
}

/** Packets of a burst. */
const BURST = 32;
/** So that one that waits sees the end of the measurement. */
const SLEEP_MS = 20;

/** What has the thread sleep until an event comes for what it receives; returns false when it did not need to. */
function sleeper(arena: Arena, { share, queue }: XenSide): () => boolean {
  const { xenEventTakePending } = arena.kernels<{ xenEventTakePending(domain: number, port: number): number }>();
  const { record } = share.data as DomainShare;
  const port = share.side === 'back' ? share.txPort : share.rxPort;
  const upcall = (record + DOMAIN_UPCALL) >>> 2;
  const { i32 } = arena;
  return () => {
    if (queue.receiver.ring.finalCheck()) return false;
    Atomics.store(i32, upcall, 0);
    if (xenEventTakePending(record, port) !== 0) return false;
    Atomics.wait(i32, upcall, 0, SLEEP_MS);
    xenEventTakePending(record, port);
    return true;
  };
}

/** Plays an end of a queue, a turn at a time. */
export class XenPlayer {
  items = 0;
  slept = 0;
  /** Returns how many packets, or answers, came or went. */
  readonly turn: () => number;

  /** @param samples how long each answer took, in ns. */
  constructor(arena: Arena, { does, side: share, bytes, use, sleeps }: XenRole, samples: Histogram) {
    const side = new XenSide(arena, share);
    const useBurst = attachUse(arena, use, share.cache);
    const sleep = sleeper(arena, side);
    let asked = 0;
    const moves = {
      send: () => side.send(BURST, bytes),
      receive: () => side.receive(useBurst),
      answer: () => side.receive((_, n) => void side.sendBurst(n)),
      ask(): number {
        if (asked === 0) {
          asked = performance.now();
          if (side.send(1, bytes) === 0) asked = 0;
        }
        const n = side.receive();
        if (n === 0) return 0;
        samples.record((performance.now() - asked) * 1e6);
        asked = 0;
        return n;
      },
    } as const;
    const move = moves[does];
    this.turn = () => {
      const n = move();
      this.items += n;
      if (n === 0 && sleeps && sleep()) this.slept++;
      return n;
    };
  }
}
