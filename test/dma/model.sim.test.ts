import { DmaModel, type ModelFaults } from 'ringway/dma';
import { expect, test } from 'vitest';
import type { DmaKernels } from '#build/dma/kernels.js';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { makeChannel, setPositions } from './support/channel.ts';

const TOTAL = 30;
const SLOT_BYTES = 64;
/** Descriptors are more than operations in flight, and their slots are too. */
const SLOTS = 32;

/** An application that copies through a model with `faults`, and by itself what the model fails at or leaves behind. */
function scenario(faults: (random: Random) => ModelFaults): Simulation {
  const rig = makeChannel();
  const { arena, vchan, address, source, target, statuses } = rig;
  const { u8 } = arena;
  const { dmaAbort } = arena.kernels<DmaKernels>();
  let model: DmaModel;
  let sent = 0;
  let back = 0;

  function receive(status: number): void {
    const at = (back % SLOTS) * SLOT_BYTES;
    if (status !== 0) u8.copyWithin(target + at, source + at, source + at + SLOT_BYTES);
    back++;
    const bytes = u8.subarray(target + at, target + at + SLOT_BYTES);
    if (bytes.some((byte) => byte !== back)) throw new Error(`operation ${back} came back without its bytes`);
    u8.fill(0xdd, source + at, source + at + SLOT_BYTES);
  }

  function* apply(random: Random): Actor {
    let idleSince = 0;
    while (back < TOTAL) {
      for (let n = Math.min(random.below(4), TOTAL - sent, SLOTS - (sent - back)); n > 0; n--) {
        const at = (sent % SLOTS) * SLOT_BYTES;
        u8.fill(sent + 1, source + at, source + at + SLOT_BYTES);
        u8.fill(0xee, target + at, target + at + SLOT_BYTES);
        if (vchan.copy(target + at, source + at, SLOT_BYTES, random.below(4) === 0 ? 1 : 0) < 0) break;
        sent++;
      }
      yield 'enqueue';
      vchan.submit();
      yield 'submit';
      const n = vchan.completedStatus(1 + random.below(4), statuses);
      for (let i = 0; i < n; i++) receive(u8[statuses + i] as number);
      idleSince = n > 0 ? 0 : idleSince + 1;
      // It hangs, or is gone: given up, and then nothing of it may ever be written.
      if (idleSince > 200) {
        model.vanish();
        dmaAbort(address);
      }
      yield n > 0 ? 'complete' : IDLE;
    }
  }

  function* work(now: () => number): Actor {
    while (back < TOTAL) {
      model.advance(now());
      const next = model.nextNs - now();
      yield next > 0 && next < 1e9 ? Math.min(next, 40) : IDLE;
    }
  }

  return new Simulation({
    name: 'model',
    steps: 2000,
    setup(world) {
      setPositions(arena, address, 0);
      vchan.completedStatus(0, statuses);
      sent = 0;
      back = 0;
      const parameters = { bandwidth: 4e9, latencyNs: 80, descriptorNs: 10, units: 3, workQueue: 6 };
      model = new DmaModel(arena, [{ address, priority: 0 }], { ...parameters, faults: faults(world.random) });
      return {
        actors: { application: apply(world.random), device: work(() => world.now) },
        finish() {
          if (back !== TOTAL) throw new Error(`${back} of ${TOTAL}`);
        },
      };
    },
  });
}

test.each<[string, (random: Random) => ModelFaults]>([
  ['no faults', () => ({})],
  ['operations that fail', (random) => ({ failRate: 0.2, seed: random.next() })],
  ['a device that hangs', (random) => ({ stallFrom: random.below(TOTAL) })],
  ['a device that goes', (random) => ({ vanishAt: random.below(TOTAL), failRate: 0.1, seed: random.next() })],
])('with %s, nothing is lost, and nothing comes back early', (_, faults) => {
  expect(scenario(faults).explore(300)).toBeGreaterThan(300 * 50);
});
