import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inTransaction } from 'ringway/xen';
import { afterEach, expect, test } from 'vitest';
import { Poller, sysAvailable } from '#build/sys/index.js';
import { Store } from '#build/xen/store.js';
import { XenDevices } from '#build/xen/system/devices.js';
import { StoreConnection } from '#build/xen/system/store-connection.js';
import { DEVICE_LINK_BYTES, DeviceLink } from '#build/xen/system/store-links.js';
import { encodeStoreMessage, StoreMessageReader, XS } from '#build/xen/system/store-wire.js';
import { testArena } from '../../support/arena.ts';
import { openPty } from './support/pty.ts';
import { serveStream } from './support/xenstored.ts';

const ends: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const BASE = 0x7f12_3456_0000;

/** The kernel's device as far as its calls can be seen: writes, each answered as `answer` says, and bytes to read. */
function makeDevice(answer: (message: Uint8Array, index: number) => number | string) {
  const arena = testArena(1 << 20);
  const address = arena.allocate('link', DEVICE_LINK_BYTES);
  const view = new DataView(arena.u8.buffer);
  const writes: Uint8Array[] = [];
  const reads: (Uint8Array | string | 0)[] = [];
  let error = 'EAGAIN';
  const fail = (name: string): number => {
    error = name;
    return -1;
  };
  const devices = {
    base: BASE,
    errorName: () => error,
    write(fd: number, at: number, bytes: number) {
      expect(fd).toBe(7);
      const message = arena.u8.slice(at, at + bytes);
      writes.push(message);
      const result = answer(message, writes.length - 1);
      return typeof result === 'string' ? fail(result) : result;
    },
    readv(_: number, vectors: number) {
      const at = Number(view.getBigUint64(vectors, true)) - BASE;
      const room = Number(view.getBigUint64(vectors + 8, true));
      const next = reads.shift() ?? 'EAGAIN';
      if (typeof next === 'string') return fail(next);
      if (next === 0) return 0;
      arena.u8.set(next.subarray(0, room), at);
      if (next.length > room) reads.unshift(next.subarray(room));
      return Math.min(next.length, room);
    },
  };
  const state: { link?: DeviceLink; ended?: Error } = {};
  const store = new StoreConnection(
    (events) => {
      state.link = new DeviceLink(arena, devices, { path: '/dev/xen/xenbus', fd: 7, address }, events);
      return state.link;
    },
    (error) => {
      state.ended = error;
    },
  );
  const read = (...some: (Uint8Array | string | 0)[]): void => {
    reads.push(...some);
    state.link?.read();
  };
  return { store, writes, read, state };
}

const whole = (message: Uint8Array): number => message.length;
const reply = (type: number, request: number, text: string): Uint8Array =>
  encodeStoreMessage({ type, request, transaction: 0, payload: Buffer.from(text) });

test('each message is one write, and answers come in reads of any length', async () => {
  const { store, writes, read } = makeDevice(whole);
  const asked = [store.read('/a'), store.directory('/b'), store.write('/c', 'x')];
  expect(writes.map((bytes) => new StoreMessageReader().push(bytes).map(({ type }) => type))).toEqual([[2], [1], [11]]);
  const answers = Buffer.concat([
    reply(XS.directory, 2, `${'y'.repeat(3000)}\0`),
    reply(XS.read, 1, 'z'.repeat(4000)),
    reply(XS.write, 3, 'OK\0'),
  ]);
  read(answers.subarray(0, 10), answers.subarray(10, 5000), answers.subarray(5000));
  expect(await Promise.all(asked)).toEqual(['z'.repeat(4000), ['y'.repeat(3000)], undefined]);
});

test('what the device refuses is that request’s error, and the next goes through', async () => {
  const names = ['EINVAL', 'EEXIST', 'EWHAT'];
  const { store, writes, read, state } = makeDevice((message, i) => names[i] ?? message.length);
  await expect(store.read('/a')).rejects.toMatchObject({ error: 'EINVAL' });
  await expect(store.watch('/a', 'b', () => {})).rejects.toMatchObject({ error: 'EEXIST' });
  await expect(store.read('/a')).rejects.toMatchObject({ code: 'SYSTEM', message: 'xenstore: /a: EWHAT' });
  // A page with its header, and not more.
  await expect(store.write('/a', 'x'.repeat(4078))).rejects.toMatchObject({ error: 'E2BIG' });
  const fits = store.write('/a', 'x'.repeat(4077));
  expect(writes.map(({ length }) => length)).toEqual([19, 21, 19, 4096]);
  read(reply(XS.write, 5, 'OK\0'));
  await fits;
  expect(state.ended).toBeUndefined();
});

test.each([
  ['EIO', 'read: EIO'],
  [0, 'read: it has ended'],
] as const)('a read that fails with %s ends the connection', async (what, message) => {
  const { store, read, state } = makeDevice(whole);
  const asked = store.read('/a');
  read(what);
  await expect(asked).rejects.toMatchObject({ code: 'CLOSED' });
  expect(state.ended?.message).toBe(`xenstore at /dev/xen/xenbus: ${message}`);
});

test('a write that is taken in part ends the connection', async () => {
  const { store, state } = makeDevice(() => 5);
  await expect(store.read('/a')).rejects.toMatchObject({ code: 'CLOSED' });
  expect(state.ended?.message).toMatch(/write\(\/dev\/xen\/xenbus\) took 5 of 19 bytes/);
});

test.each(['', 'x', '-1', '32752', '999999'])('a domain %j is none', async (text) => {
  const { store, read } = makeDevice(whole);
  const asked = store.identify();
  read(reply(XS.read, 1, text));
  await expect(asked).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  expect(store.domid).toBe(0);
});

test.skipIf(!sysAvailable())('a driver domain reaches xenstore through a device, by its own number', async () => {
  const arena = testArena(1 << 20);
  const folder = mkdtempSync(join(tmpdir(), 'ringway-xenbus-'));
  ends.push(() => rmSync(folder, { recursive: true }));
  const tree = new Store();
  const root = tree.introduce(0);
  const { path: xenbus, stream } = openPty();
  ends.push(() => void stream.destroy());
  serveStream(stream, tree.introduce(5));
  const paths = { gntdev: '/dev/null', evtchn: '/dev/null', store: join(folder, 'none'), xenbus };
  let ended: Error | undefined;
  const onStoreEnd = (error: Error): void => {
    ended = error;
  };
  const xen = new XenDevices(arena, { name: 'xen', mapPages: 4, paths, onStoreEnd });
  ends.push(() => xen.close());
  const poller = new Poller(arena.handle.memory, 'a test');
  ends.push(() => poller.close());
  // What is no evtchn cannot be waited for: the store alone is read.
  xen.events.start = () => () => {};
  ends.push(xen.startEvents(poller));
  await xen.store.identify();
  expect(xen.domid).toBe(5);
  await xen.store.write('backend/vif/7/0/state', '1');
  expect(await root.read('/local/domain/5/backend/vif/7/0/state')).toBe('1');
  const seen: string[] = [];
  const unwatch = await xen.store.watch('backend/vif', 'token', (path, token) => void seen.push(`${token} ${path}`));
  await root.write('/local/domain/5/backend/vif/7/0/vifname', 'net0');
  await expect.poll(() => seen).toEqual(['token backend/vif', 'token backend/vif/7/0/vifname']);
  await unwatch();
  await inTransaction(xen.store, async (transaction) => {
    await transaction.write('backend/vif/7/0/state', '2');
    expect(await xen.store.read('backend/vif/7/0/state')).toBe('1');
  });
  expect(await xen.store.read('backend/vif/7/0/state')).toBe('2');
  await expect(xen.store.read('nothing')).rejects.toMatchObject({ error: 'ENOENT' });
  // Far more than the device holds at a time.
  const many = await Promise.all(Array.from({ length: 50 }, (_, i) => xen.store.write(`data/${i}`, String(i))));
  expect(many.length).toBe(50);
  expect((await xen.store.directory('data')).length).toBe(50);
  expect(ended).toBeUndefined();
  stream.destroy();
  await expect.poll(() => ended?.message).toMatch(/^xenstore at \/dev\/pts\/\d+: read: /);
  await expect(xen.store.read('nothing')).rejects.toMatchObject({ code: 'CLOSED' });
});
