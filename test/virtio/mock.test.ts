import fc from 'fast-check';
import { type MockChain, MockDevice, MockDriver, type MockDriverOptions } from 'ringway/virtio';
import { expect, test } from 'vitest';
import { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_WRITE, VQ_BROKEN_ADDRESS } from '#build/virtio/layout.js';
import { testArena } from '../support/arena.ts';

const options = { name: 'd', size: 8, buffers: 16, bufferBytes: 64, guestOffset: 1n << 40n } as const;
const layouts = ['split', 'packed'] as const;

function make(change: Partial<MockDriverOptions> & Pick<MockDriverOptions, 'layout'>) {
  const arena = testArena(1 << 20);
  const driver = new MockDriver(arena, { ...options, ...change });
  const device = new MockDevice(arena, { ...options, ...change, rings: driver.rings, regions: driver.regions });
  return { arena, driver, device };
}

/** A device that answers each chain with what it read, turned round, as far as there is room. */
const echo = (chain: MockChain): Uint8Array => chain.bytes.toReversed().subarray(0, chain.room);

test.each(layouts)('%s: bytes go to the device, and bytes come back', (layout) => {
  const bytes = fc.uint8Array({ maxLength: 64 });
  const chain = fc
    .record({ readable: fc.array(bytes, { maxLength: 3 }), writable: fc.array(fc.nat(64), { maxLength: 3 }) })
    .filter(({ readable, writable }) => readable.length + writable.length > 0);
  fc.assert(
    fc.property(fc.array(chain, { maxLength: 30 }), fc.boolean(), fc.boolean(), (chains, tables, inOrder) => {
      const { driver, device } = make({ layout, inOrder, ...(tables ? { indirect: 4 } : {}) });
      for (const { readable, writable } of chains) {
        const id = driver.send(readable, writable);
        const sent = Buffer.concat(readable);
        const room = writable.reduce((sum, length) => sum + length, 0);
        const [taken] = device.take();
        expect([taken?.id, taken?.room, Buffer.from(taken?.bytes ?? [])]).toEqual([id, room, sent]);
        expect(device.return({ chain: taken as MockChain, bytes: echo(taken as MockChain) })).toBe(1);
        expect(driver.receive()).toEqual([{ id, bytes: new Uint8Array(sent.toReversed().subarray(0, room)) }]);
      }
      expect([driver.outstanding, driver.queue.free(), device.queue.free()]).toEqual([0, 8, 8]);
    }),
    { numRuns: 30 },
  );
});

test.each(layouts)('%s: no room for a chain is no error, and nothing is lost by it', (layout) => {
  const { driver, device } = make({ layout });
  const send = () => driver.send([new Uint8Array([1, 2, 3])], [64]);
  expect([send(), send(), send(), send(), send()].filter((id) => id !== undefined)).toHaveLength(4);
  const taken = device.take();
  expect([taken.length, driver.outstanding]).toEqual([4, 4]);
  expect(device.return(...taken.map((chain) => ({ chain, bytes: echo(chain) })))).toBe(4);
  expect(driver.receive().map(({ bytes }) => [...bytes])).toEqual([1, 2, 3, 4].map(() => [3, 2, 1]));
  send();
  device.queue.reset();
  expect(driver.detach()).toHaveLength(1);
  expect([driver.outstanding, driver.queue.free()]).toEqual([0, 8]);
  // All buffers are free again: 16, two to a chain.
  const { driver: fresh } = make({ layout, size: 16 });
  expect(Array.from({ length: 9 }, () => fresh.send([new Uint8Array(1)], [1]) !== undefined)).toEqual([
    ...Array(8).fill(true),
    false,
  ]);
});

test.each(layouts)('%s: what a chain and an answer may not be', (layout) => {
  const { driver, device } = make({ layout });
  expect(() => driver.send([])).toThrow(/d: a chain of 0 buffers/);
  expect(() => driver.send([new Uint8Array(65)])).toThrow(/of up to 65 bytes, may have 1 to 8 of 64/);
  expect(() => driver.send([], Array(9).fill(1))).toThrow(/a chain of 9 buffers/);
  driver.send([], [8]);
  const [chain] = device.take() as [MockChain];
  expect(() => device.return({ chain, bytes: new Uint8Array(9) })).toThrow(/9 bytes for chain 0, which has room for 8/);
  expect(() => device.return(...Array(33).fill({ chain }))).toThrow(/33 chains, returns 32 at once/);
});

test.each(layouts)('%s: raw descriptors are taken as they are', (layout) => {
  const { driver, device } = make({ layout });
  const turn = layout === 'packed' ? VIRTQ_DESC_F_AVAIL : 0;
  const fine = { guest: driver.guest(driver.buffers.address), length: 8, flags: VIRTQ_DESC_F_WRITE | turn, link: 0 };
  const nowhere = { ...fine, guest: driver.guest(driver.buffers.address + driver.buffers.length), link: 1 };
  driver.poke(0, fine, nowhere);
  if (layout === 'split') driver.offer([0, 1]);
  expect(device.take().map(({ id, room }) => [id, room])).toEqual([[0, 8]]);
  expect(device.queue.broken()).toBe(VQ_BROKEN_ADDRESS);
  expect(driver.raw.readDescriptor(driver.rings.descriptors, 1)).toEqual(nowhere);
});
