import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { NETRING_SIZE } from '#build/xen/layout.js';
import { testArena } from '../../support/arena.ts';
import { PausableArena } from '../../support/pausable.ts';
import { makeRingRig, RING_ARENA_BYTES } from './ring-rig.ts';

const BURST = 3;
/** So few slots that the ring fills and goes round. */
const SLOTS = 4;

/** A side that sleeps until its peer notifies it. */
interface Sleeper {
  asleep: boolean;
  notified: boolean;
}

/**
 * A frontend sends `total` requests to a backend that answers them, and each sleeps when it has nothing to do. Both run kernels of
 * their own, and either may be stopped before any access to the shared ring.
 */
export function interleaving(module: WebAssembly.Module, total = 8): Simulation {
  const plain = testArena(RING_ARENA_BYTES);
  const frontArena = new PausableArena(plain, module, 'front');
  const backArena = new PausableArena(plain, module, 'back');
  const rig = makeRingRig('ctrl', { arena: frontArena, backArena });
  const { front, back, sring, frontRecords, backRecords, startAt } = rig;
  const { u32 } = plain;
  for (const arena of [frontArena, backArena]) {
    arena.stopsAt = (address, bytes) => address >= sring && address + bytes <= sring + 4096;
  }
  for (const { address } of [front, back]) u32[(address + NETRING_SIZE) >>> 2] = SLOTS;
  const fronts: Sleeper = { asleep: false, notified: false };
  const backs: Sleeper = { asleep: false, notified: false };
  let [sent, seen, answered, collected] = [0, 0, 0, 0];

  /** Waits for an event, unless asking for one shows that there is something to do. */
  function* sleep(arena: PausableArena, ring: number, self: Sleeper, peer: Sleeper): Actor {
    if ((yield* arena.call('xenRingFinalCheck', ring)) !== 0) return;
    self.asleep = true;
    while (!self.notified) {
      if (peer.asleep && !peer.notified) throw new Error('both sleep, and there is work');
      yield IDLE;
    }
    self.asleep = false;
    self.notified = false;
  }

  /** Writes `n` records that say in each word which one they are. */
  const write = (at: number, bytes: number, first: number, n: number): void => {
    for (let i = 0; i < n; i++) u32.fill(first + i, (at + i * bytes) >>> 2, (at + (i + 1) * bytes) >>> 2);
  };
  const check = (at: number, bytes: number, first: number, n: number): void => {
    for (let i = 0; i < n; i++) {
      const words = u32.subarray((at + i * bytes) >>> 2, (at + (i + 1) * bytes) >>> 2);
      if (words.some((word) => word !== first + i)) throw new Error(`took what is not ${first + i}: ${[...words]}`);
    }
  };

  function* drive(random: Random): Actor {
    while (collected < total) {
      const want = Math.min(1 + random.below(BURST), total - sent);
      write(frontRecords, 16, sent + 1, want);
      const pushed = yield* frontArena.call('xenRingPushRequests', front.address, frontRecords, want);
      sent += pushed;
      if ((yield* frontArena.call('xenRingNeedsNotify', front.address)) !== 0) backs.notified = true;
      const n = yield* frontArena.call('xenRingTakeResponses', front.address, frontRecords, 1 + random.below(BURST));
      check(frontRecords, 12, collected + 1, n);
      collected += n;
      if (n === 0 && pushed === 0 && collected < total) yield* sleep(frontArena, front.address, fronts, backs);
    }
    fronts.asleep = false;
  }

  function* serve(random: Random): Actor {
    while (answered < total) {
      const n = yield* backArena.call('xenRingTakeRequests', back.address, backRecords, 1 + random.below(BURST));
      check(backRecords, 16, seen + 1, n);
      seen += n;
      const some = Math.min(seen - answered, random.below(BURST + 1));
      write(backRecords, 12, answered + 1, some);
      answered += yield* backArena.call('xenRingPushResponses', back.address, backRecords, some);
      if ((yield* backArena.call('xenRingNeedsNotify', back.address)) !== 0) fronts.notified = true;
      if (n === 0 && answered === seen && answered < total) yield* sleep(backArena, back.address, backs, fronts);
    }
    backs.asleep = false;
  }

  return new Simulation({
    name: 'ring, access by access',
    steps: total * 30,
    setup({ random }) {
      startAt(2 ** 32 - 3);
      Object.assign(fronts, { asleep: false, notified: false });
      Object.assign(backs, { asleep: false, notified: false });
      [sent, seen, answered, collected] = [0, 0, 0, 0];
      return {
        actors: { front: drive(random), back: serve(random) },
        invariant() {
          const broken = front.broken() ?? back.broken();
          if (broken !== undefined) throw new Error(`broken: ${broken}`);
        },
        finish() {
          if (front.outstanding() + back.outstanding() > 0) throw new Error('something is out in the end');
        },
      };
    },
  });
}
