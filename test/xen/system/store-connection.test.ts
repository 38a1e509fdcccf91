import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { inTransaction } from 'ringway/xen';
import { afterAll, afterEach, expect, test } from 'vitest';
import { Store } from '#build/xen/store.js';
import { StoreConnection } from '#build/xen/system/store-connection.js';
import { socketLink } from '#build/xen/system/store-links.js';
import { encodeStoreMessage, StoreMessageReader, stringsIn, XS, zeroEnded } from '#build/xen/system/store-wire.js';
import { serveSocket, serveStore } from './support/xenstored.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringway-store-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ends: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

let sockets = 0;

const newPath = (): string => join(folder, `${sockets++}`);

function connect(path: string): { store: StoreConnection; ended: Promise<Error> } {
  let end = (_: Error): void => {};
  const ended = new Promise<Error>((resolve) => {
    end = resolve;
  });
  const store = new StoreConnection(socketLink(path), end);
  ends.push(() => store.close());
  return { store, ended };
}

/** A connection to a xenstored, and what another domain has of the same store. */
async function makeStore() {
  const path = newPath();
  const tree = new Store();
  const root = tree.introduce(0);
  const server = await serveStore(path, root);
  ends.push(() => server.close());
  return { ...connect(path), guest: tree.introduce(1), server };
}

/** A connection to something that answers what it is asked with `answers`, as bytes. */
async function makeLiar(answer: (socket: Socket, asked: number) => void) {
  const path = newPath();
  let asked = 0;
  const server = await serveSocket(path, (socket) => {
    socket.on('error', () => {});
    socket.on('data', () => answer(socket, asked++));
  });
  ends.push(() => server.close());
  return connect(path);
}

test('nodes, directories, permissions and transactions are as in the store itself', async () => {
  const { store, guest } = await makeStore();
  await store.write('/local/domain/1/a', 'x\0y ü');
  expect(await store.read('/local/domain/1/a')).toBe('x\0y ü');
  expect(await guest.read('a')).toBe('x\0y ü');
  await store.mkdir('/local/domain/1/b');
  expect(await store.directory('/local/domain/1')).toEqual(['a', 'b', 'domid']);
  expect(await store.read('domid')).toBe('0');
  const permissions = [
    { domid: 0, access: 'n' },
    { domid: 1, access: 'b' },
  ] as const;
  await store.setPermissions('/local/domain/1/a', permissions);
  expect(await store.permissions('/local/domain/1/a')).toEqual(permissions);
  await store.remove('/local/domain/1/a');
  await expect(store.read('/local/domain/1/a')).rejects.toMatchObject({ code: 'NOT_FOUND', error: 'ENOENT' });
  let tries = 0;
  await inTransaction(store, async (transaction) => {
    await transaction.write('/t', String(await transaction.directory('/local')));
    // Somebody comes between once: all is done again.
    if (tries++ === 0) await store.write('/t', 'other');
  });
  expect([tries, await store.read('/t')]).toEqual([2, 'domain']);
});

test('watches are told at first and of each change, by their own paths and tokens, until they end', async () => {
  const { store, guest } = await makeStore();
  const seen: string[] = [];
  const tell = (path: string, token: string): void => void seen.push(`${token} ${path}`);
  const unwatch = await store.watch('/local/domain/1', 'same', tell);
  await store.watch('backend/vif', 'same', tell);
  await expect.poll(() => seen).toEqual(['same /local/domain/1', 'same backend/vif']);
  await guest.write('state', '1');
  await store.write('/local/domain/0/backend/vif/1/0/state', '1');
  await expect.poll(() => seen.slice(2)).toContain('same /local/domain/1/state');
  await expect.poll(() => seen.slice(2).some((text) => text.startsWith('same backend/vif/1'))).toBe(true);
  await expect(store.watch('backend/vif', 'same', tell)).rejects.toMatchObject({ error: 'EEXIST' });
  await unwatch();
  const before = seen.length;
  await guest.write('state', '2');
  await store.read('/');
  expect(seen.slice(before)).toEqual([]);
});

test('paths that would be two messages, and messages that are too long, are not sent', async () => {
  const { store } = await makeStore();
  for (const path of ['', 'a\0b', '/a//b', 'a b']) {
    await expect(store.read(path)).rejects.toMatchObject({ error: 'EINVAL' });
  }
  await expect(store.write('/a', 'x'.repeat(4096))).rejects.toMatchObject({ error: 'E2BIG' });
  await store.write('/a', 'x'.repeat(4093));
  expect((await store.read('/a')).length).toBe(4093);
});

test('what was asked fails, and the owner is told, when xenstored goes', async () => {
  const { store, ended, server } = await makeStore();
  await store.read('/');
  await server.close();
  expect((await ended).message).toMatch(/^xenstore at .*: the other side has closed the connection$/);
  await expect(store.read('/')).rejects.toMatchObject({ code: 'CLOSED' });
  const { store: none, ended: refused } = connect(newPath());
  await expect(none.read('/')).rejects.toMatchObject({ code: 'CLOSED' });
  expect((await refused).message).toContain('ENOENT');
});

test.each([
  ['a length beyond the most', [XS.read, 1, 0, 4097], 'a message of 4097 bytes'],
  ['an answer to nothing', [XS.read, 77, 0, 0], 'an answer to request 77'],
  ['an answer of another type', [XS.write, 1, 0, 0], 'an answer of type 11 to a request of type 2'],
])('%s ends the connection', async (_, words, message) => {
  const { store, ended } = await makeLiar(
    (socket) => void socket.write(new Uint8Array(Uint32Array.from(words).buffer)),
  );
  await expect(store.read('/')).rejects.toMatchObject({ code: 'CLOSED' });
  expect((await ended).message).toContain(message);
});

test('an error of a name that nobody knows, a transaction and a permission that are none are refusals', async () => {
  const { store } = await makeLiar((socket, asked) => {
    const [type, text] = [
      [XS.error, 'EWHAT'],
      [XS.transactionStart, 'x'],
      [XS.getPermissions, 'q5'],
    ][asked] as [number, string];
    socket.write(encodeStoreMessage({ type, request: asked + 1, transaction: 0, payload: zeroEnded([text]) }));
  });
  await expect(store.read('/')).rejects.toMatchObject({ code: 'SYSTEM', message: 'xenstore: /: EWHAT' });
  await expect(store.begin()).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(store.permissions('/')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});

test('a message is as io/xs_wire.h has it', () => {
  const bytes = encodeStoreMessage({ type: XS.write, request: 7, transaction: 9, payload: Buffer.from('a\0b') });
  expect([...bytes]).toEqual([11, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0, 97, 0, 98]);
  expect(stringsIn(zeroEnded(['a', '', 'b']))).toEqual(['a', '', 'b']);
});

test('messages are found however the stream is cut', () => {
  const message = fc.record({
    type: fc.nat(22),
    request: fc.nat(),
    transaction: fc.nat(),
    payload: fc.uint8Array({ maxLength: 300 }),
  });
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
      (sent, cuts) => {
        const stream = Buffer.concat(sent.map(encodeStoreMessage));
        const reader = new StoreMessageReader();
        const found = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const length = cuts[i % cuts.length] as number;
          found.push(...reader.push(stream.subarray(at, at + length)));
          at += length;
        }
        expect(found.map((each) => ({ ...each, payload: Uint8Array.from(each.payload) }))).toEqual(sent);
      },
    ),
    { numRuns: 100 },
  );
});
