import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TcpSink } from '#build/guest/tcp-sink.js';
import { Connection, SEGMENT, startTcp, TIMEOUT_NS } from '#build/lab/xen-tcp.js';
import { createGround, XenWorld } from '#build/lab/xen-world.js';
import { TcpView } from '#build/packet/transport.js';
import { Random } from '#build/util/random.js';

const ADDRESSES = new Uint8Array(8);

/** A connection and a sink, with a way between them that loses one in `loss` of what passes; 0: none. */
function lossy(seed: number, loss: number, rounds: number) {
  const random = new Random(seed);
  const isLost = (): boolean => loss > 0 && random.below(loss) === 0;
  const connection = new Connection(1024);
  const sink = new TcpSink(seed);
  let [segments, again, now, most] = [0, 0, 0, 0];
  for (let round = 0; round < rounds; round++) {
    const way: TcpView[] = [];
    while (connection.canSend(now)) {
      const bytes = new Uint8Array(20 + SEGMENT);
      const written = connection.write(bytes, 0, now);
      if (written.payload > 0) segments++;
      if (written.again) again++;
      const view = TcpView.parse(bytes, 0, 20 + written.payload);
      if (view !== undefined && !isLost()) way.push(view);
    }
    most = Math.max(most, way.length);
    // Nothing is under way: it waits until the time is over.
    now += way.length === 0 ? TIMEOUT_NS + 1 : 1000;
    for (const view of way) {
      const length = sink.handle(view, ADDRESSES);
      const answer = length < 0 || isLost() ? undefined : TcpView.parse(view.bytes, 0, length);
      if (answer !== undefined) connection.answered(answer, now);
    }
  }
  return { received: sink.received, segments, again, most };
}

test('without losses nothing is sent again, and the window opens to 65,535 bytes', () => {
  const { received, segments, again, most } = lossy(1, 0, 100);
  expect([received, again, most]).toEqual([segments * SEGMENT, 0, 44]);
});

test('with losses all of it arrives, in order, and what is sent again was lost or came out of order', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), fc.integer({ min: 3, max: 200 }), (seed, loss) => {
      const { received, segments, again } = lossy(seed, loss, 600);
      // Segments that are not repeats are all that can be new; a window of them is under way at most.
      expect(received).toBeLessThanOrEqual((segments - again) * SEGMENT);
      expect(received).toBeGreaterThanOrEqual((segments - again - 44) * SEGMENT);
      expect(received).toBeGreaterThan(0);
      expect(again).toBeGreaterThan(0);
    }),
    { numRuns: 30 },
  );
});

test.each([
  ['tx', { kind: 'copy' }],
  ['rx', { kind: 'staging', tx: 256, rx: 256 }],
  ['rx', { kind: 'data-ring', order: 5 }],
] as const)('connections through a queue, %s by %j: what arrives was sent, and no more', async (way, path) => {
  const one = { mode: 'plain', path, queues: 1 } as const;
  const world = await XenWorld.open(createGround([one]), one);
  const bulk = startTcp(world, way);
  const before = bulk.received;
  const { ns } = bulk.window(20);
  expect(ns).toBeGreaterThan(0);
  const more = (bulk.received - before) / SEGMENT;
  expect(more).toBeGreaterThan(0);
  // What was under way at the start, 16 windows at most, arrives, too.
  expect(more).toBeLessThanOrEqual(bulk.segments - bulk.again + 16 * 44);
  await world.close();
});
