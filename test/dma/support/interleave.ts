import { DMA_FLAG, DMA_STATUS, type Vchan } from 'ringway/dma';
import type { DmaKernels } from '#build/dma/kernels.js';
import {
  VCHAN_BELL,
  VCHAN_COMPLETED,
  VCHAN_DESCRIPTORS,
  VCHAN_ENQUEUED,
  VCHAN_RETURNED,
  VCHAN_SUBMITTED,
} from '#build/dma/layout.js';
import { attachVchan, createVchan, openVchan, vchanBytes } from '#build/dma/vchan.js';
import { LCORE_BYTES, LCORE_DOORBELL, LCORE_PARKED } from '#build/lcore/layout.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { testArena } from '../../support/arena.ts';
import { PausableArena } from '../../support/pausable.ts';
import { inside } from '../../virtio/support/watch.ts';
import { setPositions } from './channel.ts';

/** So few that the ring fills and goes round. */
const DESCRIPTORS = 4;
const SLOTS = 8;
const SLOT_BYTES = 32;
const BURST = 3;
/** Where the index and the position wrap within a schedule. */
const START = 2 ** 32 - 5;

export interface InterleaveOptions {
  readonly silent?: boolean;
  /** Operations in all. */
  readonly total?: number;
}

/** Kinds of operations of the scenario; one of each ten fails. */
const KINDS = ['copy', 'copy', 'sg', 'fill', 'fault'] as const;

interface Sent {
  readonly serial: number;
  readonly kind: (typeof KINDS)[number];
}

/**
 * An application sends `total` operations to an engine that sleeps when it finds nothing. Each runs kernels of its own, and
 * either may be stopped before any access to what they share. The application checks the bytes of an operation as soon as
 * it gets it back, and spoils what it was made of.
 */
export function interleaving(
  module: WebAssembly.Module,
  { silent = false, total = 10 }: InterleaveOptions = {},
): Simulation {
  const plain = testArena(1 << 20);
  const application = new PausableArena(plain, module, 'application');
  const engine = new PausableArena(plain, module, 'engine');
  const setup = {
    name: 'channel',
    descriptors: DESCRIPTORS,
    priority: 0,
    capabilities: { sg: true, fill: true },
    cpu: false,
    silent,
  };
  const address = createVchan(plain, setup, { min: DESCRIPTORS, max: DESCRIPTORS });
  const bell = plain.allocate('bell', LCORE_BYTES);
  const source = plain.allocate('source', SLOTS * SLOT_BYTES);
  const target = plain.allocate('target', SLOTS * SLOT_BYTES);
  const lists = plain.allocate('lists', 64);
  const statuses = plain.allocate('statuses', 64);
  const vchan: Vchan = attachVchan(plain, address);
  const { u8, u32 } = plain;
  const word = (offset: number): number => u32[(address + offset) >>> 2] as number;
  const shared = [
    { address: address + VCHAN_SUBMITTED, bytes: vchanBytes(DESCRIPTORS, true) - VCHAN_SUBMITTED },
    { address: bell, bytes: LCORE_BYTES },
    { address: source, bytes: SLOTS * SLOT_BYTES },
    { address: target, bytes: SLOTS * SLOT_BYTES },
  ];
  for (const arena of [application, engine]) arena.stopsAt = (at, bytes) => inside(shared, at, bytes);
  const kernels = plain.kernels<DmaKernels>();

  const flying: Sent[] = [];
  let sent = 0;
  let back = 0;
  let asleep = false;

  const slot = (base: number, serial: number): number => base + (serial % SLOTS) * SLOT_BYTES;

  /** Enqueues one operation; it may be seen as soon as that is on its way. Returns -1 when there was no room. */
  function* enqueue(random: Random): Generator<string, number, void> {
    const serial = sent + 1;
    const kind = KINDS[random.below(KINDS.length)] as (typeof KINDS)[number];
    const [from, to] = [slot(source, serial), slot(target, serial)];
    const flags = random.below(3) === 0 ? DMA_FLAG.SUBMIT : 0;
    u8.fill(serial, from, from + SLOT_BYTES);
    u8.fill(0xee, to, to + SLOT_BYTES);
    let index: number;
    if (kind === 'sg') {
      u32.set([to, 5, to + 5, 15], lists >>> 2);
      u32.set([from, 19, from + 19, 1], (lists >>> 2) + 4);
      index = yield* application.call('dmaCopySg', address, lists, 2, lists + 16, 2, flags);
    } else if (kind === 'fill') {
      const word = serial * 0x01010101;
      index = yield* application.call('dmaFill', address, to, word, word, 20, flags);
    } else {
      index = yield* application.call('dmaCopy', address, to, kind === 'fault' ? 8 : from, 20, flags);
    }
    if (index < 0) return index;
    if (index !== ((START + sent) & 0xffff)) throw new Error(`index ${index} of operation ${sent}`);
    flying.push({ serial, kind });
    sent++;
    return index;
  }

  /** An operation comes back with `status`: its bytes are there, and what it was made of is spoiled. */
  function receive(status: number): void {
    const operation = flying.shift();
    if (operation === undefined) throw new Error('came back, and nothing is out');
    const { serial, kind } = operation;
    const expected = kind === 'fault' ? DMA_STATUS.INVALID_SRC_ADDR : DMA_STATUS.SUCCESSFUL;
    if (status !== expected) throw new Error(`operation ${serial} (${kind}) came back as ${status}`);
    const [from, to] = [slot(source, serial), slot(target, serial)];
    const want = kind === 'fault' ? 0xee : serial;
    if (u8.subarray(to, to + 20).some((byte) => byte !== want))
      throw new Error(`operation ${serial}: bytes are not there`);
    u8.fill(0xdd, from, from + SLOT_BYTES);
    back++;
  }

  function* collect(random: Random): Generator<string, number, void> {
    const max = 1 + random.below(BURST);
    if (random.below(2) === 0) {
      const n = yield* application.call('dmaCompletedStatus', address, max, statuses);
      for (let i = 0; i < n; i++) receive(u8[statuses + i] as number);
      return n;
    }
    const n = yield* application.call('dmaCompleted', address, max);
    for (let i = 0; i < n; i++) receive(DMA_STATUS.SUCCESSFUL);
    return n;
  }

  function* apply(random: Random): Actor {
    while (back < total) {
      let added = 0;
      // In one that is silent, slots are used again when their operation is completed for sure.
      for (let want = Math.min(1 + random.below(BURST), total - sent); want > 0 && flying.length < SLOTS; want--) {
        if ((yield* enqueue(random)) < 0) break;
        added++;
      }
      if (random.below(8) === 0 && vchan.pending() > 0) {
        const index = (word(VCHAN_ENQUEUED) - 1) & 0xffff;
        const given = yield* application.call('dmaRollback', address, index);
        if (given !== 1) throw new Error(`${given} given up, not 1`);
        flying.pop();
        sent--;
      } else if (random.below(2) === 0 || added === 0) yield* application.call('dmaSubmit', address);
      if (silent) {
        while (flying.length > 0 && vchan.inFlight() + vchan.pending() < flying.length) {
          const { kind } = flying[0] as Sent;
          receive(kind === 'fault' ? DMA_STATUS.INVALID_SRC_ADDR : DMA_STATUS.SUCCESSFUL);
        }
        yield IDLE;
        continue;
      }
      if ((yield* collect(random)) > 0 || added > 0) continue;
      const lost = asleep && vchan.inFlight() > 0 && u32[(bell + LCORE_DOORBELL) >>> 2] === 0;
      if (lost) throw new Error('the engine sleeps, and there is work');
      yield IDLE;
    }
  }

  /** As an lcore that parks at its first empty poll. */
  function* work(random: Random): Actor {
    const [parked, doorbell] = [LCORE_PARKED, LCORE_DOORBELL].map((offset) => (bell + offset) >>> 2) as [
      number,
      number,
    ];
    while (back < total) {
      const n = yield* engine.call('dmaRunEngine', address, 1 + random.below(BURST));
      if (n > 0) continue;
      u32[parked] = 1;
      yield 'park';
      if ((yield* engine.call('dmaRunning', address)) === 0) {
        asleep = true;
        while (u32[doorbell] === 0 && back < total) yield IDLE;
        asleep = false;
      }
      u32[parked] = 0;
      u32[doorbell] = 0;
      yield 'wake';
    }
  }

  return new Simulation({
    name: silent ? 'silent channel' : 'channel',
    steps: total * 60,
    setup({ random }) {
      setPositions(plain, address, START);
      openVchan(plain, address, bell);
      u32[(address + VCHAN_BELL) >>> 2] = bell;
      u8.fill(0, address + VCHAN_DESCRIPTORS, address + vchanBytes(DESCRIPTORS, true));
      u32.fill(0, bell >>> 2, (bell + LCORE_BYTES) >>> 2);
      // Failures of the schedule before were all seen; one that failed may have left some.
      kernels.dmaCompletedStatus(address, 0, statuses);
      flying.length = 0;
      sent = 0;
      back = 0;
      asleep = false;
      return {
        actors: { application: apply(random), engine: work(random) },
        invariant() {
          const returned = word(VCHAN_RETURNED);
          const steps = [VCHAN_COMPLETED, VCHAN_SUBMITTED, VCHAN_ENQUEUED].map(
            (offset) => (word(offset) - returned) >>> 0,
          );
          const [completed = 0, submitted = 0, enqueued = 0] = steps;
          if (completed > submitted || submitted > enqueued || enqueued > DESCRIPTORS) {
            throw new Error(`positions ${steps.join(', ')} behind the last that was given back`);
          }
        },
        finish() {
          if (back !== total || flying.length > 0) throw new Error(`${back} came back of ${total}`);
        },
      };
    },
  });
}
