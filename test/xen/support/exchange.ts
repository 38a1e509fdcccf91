import type { Netback, Netfront } from 'ringway/xen';
import { expect } from 'vitest';
import { Random } from '#build/util/random.js';
import { frameOf, type makeVif, type Served, settle, type VifEnd } from './vif-rig.ts';

export type VifRig = Awaited<ReturnType<typeof makeVif>>;

/** Connects both ends. */
export async function connect({ netback, netfront }: VifRig): Promise<void> {
  await netback.start();
  await netfront.start();
  await settle();
  expect([netback.error, netfront.error]).toEqual([undefined, undefined]);
  expect([netback.state, netfront.state]).toEqual([4, 4]);
}

/** Closes both ends, and looks that all of it is given back, and that `mayFail` operations of Xen failed. */
export async function disconnect(rig: VifRig, mayFail = 0): Promise<void> {
  const { netback, netfront, driver, guest } = rig;
  expect(rig.held()).toBe(0);
  await netfront.close();
  await settle();
  expect([netback.state, netfront.state]).toEqual([6, 6]);
  expect([guest.grants.inUse, netfront.bus.lost]).toEqual([0, 0]);
  const { maps, unmaps, failed } = driver.costs();
  expect([maps - unmaps, failed]).toEqual([0, mayFail]);
  await netback.close();
  await netfront.bus.destroy();
  expect(rig.arena.regions().filter(({ name }) => /^(front|back) /.test(name))).toEqual([]);
  expect(rig.arena.damaged()).toEqual([]);
}

/** Sends packets from `from` to `to`, as far as they fit, and looks that they arrive whole. Returns how many did. */
export function pass(rig: VifRig, from: Served, to: Served, frames: readonly Uint8Array[]): number {
  rig.make(frames);
  const sent = from.send(rig.burst, frames.length);
  rig.free(sent, frames.length - sent);
  const got: Uint8Array[] = [];
  for (let more = rig.receive(to); more.length > 0; more = rig.receive(to)) got.push(...more);
  expect(got.length).toBe(sent);
  for (const [i, frame] of got.entries()) expect(Buffer.compare(frame, frames[i] as Uint8Array)).toBe(0);
  return sent;
}

/** Packets of all sizes up to `most` bytes, both ways, over all queues in turn; nothing is lost. */
export function exchange(rig: VifRig, seed: number, rounds: number, most = 65_534): void {
  const random = new Random(seed);
  const ends: [VifEnd<Netfront>, VifEnd<Netback>] = [rig.netfront, rig.netback];
  const queues = ends[0].queues.length;
  let serial = seed;
  for (let round = 0; round < rounds; round++) {
    const q = round % queues;
    const [from, to] = round % 2 === 1 ? [...ends].reverse() : ends;
    const lengths = Array.from({ length: 1 + random.below(32) }, () => {
      const limit = random.below(8) === 0 ? Math.min(most, round < rounds / 2 ? 8014 : most) : Math.min(most, 1514);
      return 14 + random.below(limit - 13);
    });
    const frames = lengths.map((length) => frameOf(serial++, length));
    expect(pass(rig, from?.queues[q] as Served, to?.queues[q] as Served, frames)).toBeGreaterThan(0);
  }
  for (const queue of ends.flatMap((end) => end.queues)) {
    expect(queue.fault()).toBeUndefined();
    for (const drops of Object.values(queue.drops()))
      expect(drops).toEqual({ bad: 0, long: 0, empty: 0, failed: 0, stalled: 0, filtered: 0 });
  }
}

/** The same, and looks that Xen copied nothing, and was called for events alone. */
export function exchangeUncopied(rig: VifRig, seed: number, rounds: number, most: number): void {
  const before = rig.driver.costs();
  exchange(rig, seed, rounds, most);
  const { copies, hypercalls, events } = rig.driver.costs();
  expect([copies - before.copies, hypercalls - before.hypercalls]).toEqual([0, events - before.events]);
}
