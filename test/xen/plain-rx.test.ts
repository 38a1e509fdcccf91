import fc from 'fast-check';
import { expect, test } from 'vitest';
import { connect, disconnect, pass } from './support/exchange.ts';
import { frameOf, makeVif, type Served } from './support/vif-rig.ts';

const STAGING = { kind: 'staging', tx: 256, rx: 256 } as const;
/** Lengths of packets of the common kind, and of those that are staged in part, or have two slots or buffers. */
const LENGTHS = [14, 60, 255, 256, 257, 1514, 1793, 4097, 9000];

test.each([STAGING, { kind: 'copy' }] as const)('bursts of all kinds arrive in order, %j', async (path) => {
  const rig = await makeVif({ mode: 'plain', path });
  await connect(rig);
  let serial = 0;
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...LENGTHS), { minLength: 1, maxLength: 20 }), (lengths) => {
      const before = rig.driver.costs().copies;
      const frames = lengths.map((length) => frameOf(serial++, length));
      expect(pass(rig, rig.netback.queues[0] as Served, rig.netfront.queues[0] as Served, frames)).toBe(frames.length);
      const isFree = lengths.every((length) => path.kind === 'staging' && length <= 256);
      expect(rig.driver.costs().copies === before).toBe(isFree);
    }),
    { numRuns: 60 },
  );
  await disconnect(rig);
});

/** What a backend may write in the place of the second of three responses, and what of the three arrives then. */
test.each([
  ['that it failed', { status: -1 }, [0, 2], undefined],
  ['bytes outside its page', { offset: 4000, status: 97 }, [0], /bytes outside their page/],
  ['another id', { id: 7 }, [0], /an answer to what was not asked/],
  ['more slots than there are', { flags: 4, last: true }, [0], /announced are not there/],
  ['no Ethernet header', { status: 13 }, [0, 2], undefined],
  ['sums that are right', { flags: 1 }, [0, 1, 2], undefined],
  ['a sum to be made of what has none', { flags: 2 }, [0, 2], undefined],
  ['extra information, for which the third stands', { flags: 8 }, [0, 1], undefined],
] as const)('a response among others says %s', async (_, says, arrive, fault) => {
  const rig = await makeVif({ mode: 'plain', path: STAGING });
  await connect(rig);
  const [front, back] = [rig.netfront.queues[0] as Served, rig.netback.queues[0] as Served];
  const frames = [0, 1, 2].map((i) => frameOf(i, 97));
  const sent = 'last' in says ? frames.slice(0, 2) : frames;
  rig.make(sent);
  expect(back.send(rig.burst, sent.length)).toBe(sent.length);
  const slots = (rig.arena.u32[(front.rx.address ?? 0) >>> 2] ?? 0) + 64;
  for (const [key, at] of [
    ['id', 0],
    ['offset', 2],
    ['flags', 4],
    ['status', 6],
  ] as const) {
    if (key in says) rig.arena.u16[(slots + 8 + at) >>> 1] = (says as Record<typeof key, number>)[key];
  }
  expect(rig.receive(front)).toEqual(arrive.map((i) => frames[i]));
  if (fault === undefined) expect(front.fault()).toBeUndefined();
  else expect(front.fault()).toMatch(fault);
  expect(rig.held()).toBe(0);
});

test('a frontend without buffers drops, and goes on when it has some', async () => {
  const rig = await makeVif({ mode: 'plain', path: STAGING, buffers: 64 });
  await connect(rig);
  const [front, back] = [rig.netfront.queues[0] as Served, rig.netback.queues[0] as Served];
  rig.make([0, 1, 2].map((i) => frameOf(i, 60)));
  expect(back.send(rig.burst, 3)).toBe(3);
  rig.make(Array.from({ length: 32 }, (_, i) => frameOf(i, 2000)));
  // The last slot's place, which is not looked at any more.
  expect(front.receive(rig.burst + 31 * 16, 1)).toBe(0);
  expect(front.drops().received.empty).toBe(1);
  rig.free(0, 32);
  expect(rig.receive(front)).toEqual([frameOf(1, 60), frameOf(2, 60)]);
  expect(rig.held()).toBe(0);
});
