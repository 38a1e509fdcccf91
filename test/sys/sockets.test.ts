import { fstatSync, lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { requireSockets, requireSys, sysAvailable } from '#build/sys/index.js';

const folder = mkdtempSync(join(tmpdir(), 'ringway-sockets-'));
afterAll(() => rmSync(folder, { recursive: true }));
const isHere = sysAvailable();
const sockets = () => requireSockets('the test');
const open: number[] = [];
const keep = (fd: number | undefined): number => {
  if (fd === undefined) throw new Error('no descriptor');
  open.push(fd);
  return fd;
};
afterEach(() => {
  for (const fd of open.splice(0)) requireSys('the test').closeFd(fd);
});
let serial = 0;
const somewhere = (): string => join(folder, `${serial++}.sock`);

/** Two ends of a connection. */
function connected(path = somewhere()): [number, number] {
  const listener = keep(sockets().listen(path));
  const client = keep(sockets().connect(path));
  return [client, keep(sockets().accept(listener))];
}

test.skipIf(!isHere)('bytes and descriptors arrive, in the pieces that are asked for', () => {
  const [client, server] = connected();
  const memory = keep(requireSys('the test').memfdCreate('passed', 4096, { seal: false }));
  writeSync(memory, 'what was in it', 0);
  expect(sockets().receive(server, 10)).toBe('again');
  expect(sockets().send(client, Uint8Array.of(1, 2, 3, 4, 5), [memory, memory])).toBe(5);
  const first = sockets().receive(server, 2);
  if (typeof first === 'string') throw new Error(first);
  expect([...first.data]).toEqual([1, 2]);
  expect(first.fds.length).toBe(2);
  for (const fd of first.fds) keep(fd);
  expect(fstatSync(first.fds[0] as number).ino).toBe(fstatSync(memory).ino);
  expect(readFileSync(`/proc/self/fd/${first.fds[1]}`, 'utf8').slice(0, 14)).toBe('what was in it');
  expect(sockets().receive(server, 100)).toEqual({ data: Uint8Array.of(3, 4, 5), fds: [] });
});

test.skipIf(!isHere)(
  'nothing waits: not for bytes, not for a peer that does not read, not for one that is gone',
  () => {
    const [client, server] = connected();
    const block = new Uint8Array(8192);
    let sent = 0;
    for (let n = sockets().send(client, block); n !== 0 && n !== 'closed'; n = sockets().send(client, block)) sent += n;
    expect(sent).toBeGreaterThan(8192);
    expect(sockets().isClosed(server)).toBe(false);
    requireSys('the test').closeFd(open.splice(open.indexOf(client), 1)[0] as number);
    let left = 0;
    for (;;) {
      const received = sockets().receive(server, 8192);
      if (typeof received === 'string') {
        expect(received).toBe('closed');
        break;
      }
      left += received.data.length;
    }
    expect(left).toBe(sent);
    expect(sockets().isClosed(server)).toBe(true);
    expect(sockets().send(server, block)).toBe('closed');
  },
);

test.skipIf(!isHere)('a socket is for its owner alone, and takes the place of one that nobody listens on', async () => {
  const path = somewhere();
  expect(sockets().connect(path)).toBeUndefined();
  const first = sockets().listen(path);
  expect(lstatSync(path).mode & 0o777).toBe(0o600);
  expect(() => sockets().listen(path)).toThrow(`${path}: somebody listens there already; stop it, or use another path`);
  requireSys('the test').closeFd(first);
  expect(sockets().connect(path)).toBeUndefined();
  keep(sockets().listen(path));
  const file = somewhere();
  writeFileSync(file, 'mine');
  expect(() => sockets().listen(file)).toThrow(`${file}: is no socket; remove it, or use another path`);
  expect(() => sockets().listen(join(folder, 'x'.repeat(120)))).toThrow("a socket's path has 1 to 107 bytes");
  // Of another program, which has not taken its clients yet.
  const other = somewhere();
  const server = createServer().listen(other);
  await new Promise((resolve) => server.once('listening', resolve));
  expect(() => sockets().listen(other)).toThrow('somebody listens there already');
  await new Promise((resolve) => server.close(resolve));
});

test.skipIf(!isHere)('an eventfd is told from other files, and a full one blocks nobody', () => {
  const event = keep(sockets().eventfd());
  const memory = keep(requireSys('the test').memfdCreate('no event', 4096, { seal: false }));
  expect(sockets().adoptEventfd(memory)).toBe(false);
  expect(sockets().adoptEventfd(event)).toBe(true);
  writeSync(event, new Uint8Array(BigUint64Array.of(2n ** 64n - 2n).buffer));
  sockets().signal(event);
  sockets().drain(event);
  sockets().drain(event);
  sockets().signal(event);
});
