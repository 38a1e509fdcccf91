import { expect, test } from 'vitest';
import { connect, disconnect } from './support/exchange.ts';
import { frameOf, makeVif, type Served } from './support/vif-rig.ts';

test('packets that a frontend asks for no more are dropped after ten seconds, until it asks again', async () => {
  const clock = { ms: 5000 };
  const rig = await makeVif({ mode: 'plain', now: () => clock.ms });
  await connect(rig);
  const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
  const offer = (n: number): number => {
    rig.make(Array.from({ length: n }, (_, i) => frameOf(i, 60)));
    const taken = back.send(rig.burst, n);
    rig.free(taken, n - taken);
    return taken;
  };
  for (let i = 0; i < 8; i++) expect(offer(32)).toBe(32);
  // The ring is full, and whoever sends is to wait.
  expect(offer(32)).toBe(0);
  clock.ms += 9999;
  expect([offer(32), back.stalled(), back.drops().sent.stalled]).toEqual([0, false, 0]);
  clock.ms += 1;
  expect([offer(32), back.stalled(), back.drops().sent.stalled]).toEqual([32, true, 32]);
  clock.ms += 1;
  expect([offer(5), back.drops().sent.stalled]).toEqual([5, 37]);
  // It takes some, and asks for as many.
  expect(rig.receive(front).length).toBe(32);
  expect(front.receive(rig.scratch, 1)).toBe(1);
  rig.arena.u8.copyWithin(rig.burst, rig.scratch, rig.scratch + 16);
  rig.free(0, 1);
  expect([offer(20), back.stalled()]).toEqual([20, false]);
  // A packet that is half taken is no stop; then the ten seconds begin anew.
  expect(offer(32)).toBe(12);
  expect(offer(32)).toBe(0);
  clock.ms += 9999;
  expect([offer(1), back.stalled()]).toEqual([0, false]);
  expect(back.drops().sent.stalled).toBe(37);
  expect(rig.held()).toBe(0);
  await disconnect(rig);
});

test('a frontend that nobody sends to is not stalled, however long', async () => {
  const clock = { ms: 5000 };
  const rig = await makeVif({ mode: 'plain', now: () => clock.ms });
  await connect(rig);
  const back = rig.netback.queues[0] as Served;
  for (let i = 0; i < 8; i++) {
    rig.make(Array.from({ length: 32 }, (_, j) => frameOf(j, 60)));
    expect(back.send(rig.burst, 32)).toBe(32);
  }
  clock.ms += 100_000;
  rig.make([frameOf(1, 60)]);
  expect(back.send(rig.burst, 1)).toBe(0);
  expect(back.stalled()).toBe(false);
  rig.free(0, 1);
  await disconnect(rig);
});
