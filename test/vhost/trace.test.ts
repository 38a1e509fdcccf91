import { once } from 'node:events';
import { existsSync, fstatSync, readFileSync, statSync } from 'node:fs';
import { readCapture } from 'ringway/packet';
import { afterAll, afterEach, expect, test } from 'vitest';
import { requireSockets, requireSys, sysAvailable } from '#build/sys/index.js';
import { Channel, type Message } from '#build/vhost/channel.js';
import { BACKEND_REQUEST, REQUEST, U64, VRING_STATE } from '#build/vhost/protocol.js';
import { VhostTracer } from '#build/vhost/trace.js';
import { CommandLine } from '../support/command.ts';
import { testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(() => folder.rm());
const available = sysAvailable();
const [listen, connect] = [folder.path('listen.sock'), folder.path('connect.sock')];

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const own = (channel: Channel): Channel => {
  closing.push(() => channel.close());
  return channel;
};

function owned(...fds: number[]): void {
  const { closeFd } = requireSys('a test');
  for (const fd of fds) closing.push(() => closeFd(fd));
}

async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  for (const end = Date.now() + 5000; Date.now() < end; ) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`no ${what}`);
}

const next = (channel: Channel): Promise<Message> =>
  until('message', () => {
    const message = channel.read();
    return typeof message === 'string' ? undefined : message;
  });

/** Both ends of a connection that is traced, and what was told of it. */
async function traced() {
  const sockets = requireSockets('a test');
  const lines: string[] = [];
  const listener = sockets.listen(connect);
  owned(listener);
  const tracer = new VhostTracer({
    listen,
    connect,
    onMessage: ({ from, backendChannel, text, client }) =>
      lines.push(`${client} ${from}${backendChannel ? "'s channel" : ''} ${text.replace(/after .* ms/, 'after')}`),
    onEvent: (client, text) => lines.push(`${client} - ${text}`),
  });
  closing.push(() => tracer.close());
  const frontend = own(new Channel(sockets.connect(listen) as number, 'frontend'));
  const backend = own(new Channel(await until('client', () => sockets.accept(listener)), 'backend'));
  return { sockets, lines, tracer, frontend, backend };
}

test.skipIf(!available)('messages and descriptors pass both ways, and are told', async () => {
  const { sockets, lines, frontend, backend } = await traced();
  expect(statSync(listen).mode & 0o777).toBe(0o600);
  frontend.send(REQUEST.GET_FEATURES, new Uint8Array(0));
  expect(await next(backend)).toEqual({ request: 1, flags: 1, payload: new Uint8Array(0), fds: [] });
  backend.send(REQUEST.GET_FEATURES, U64.write(1n << 32n), { reply: true });
  expect(await next(frontend)).toMatchObject({ request: 1, flags: 5, payload: U64.write(1n << 32n) });
  const [kick, file] = [sockets.eventfd(), requireSys('a test').memfdCreate('some', 4096, { seal: true })];
  owned(kick, file);
  frontend.send(REQUEST.SET_VRING_KICK, U64.write(0n), { fds: [kick] });
  frontend.send(REQUEST.SET_LOG_FD, new Uint8Array(0), { fds: [file, kick], need: true });
  const received = [await next(backend), await next(backend)].flatMap(({ fds }) => fds);
  owned(...received);
  sockets.signal(kick);
  expect(received.length).toBe(3);
  expect(sockets.drain(received[0] as number)).toBe(1);
  expect(fstatSync(received[1] as number).ino).toBe(fstatSync(file).ino);
  frontend.close();
  await until('end', () => (backend.read() === 'closed' ? true : undefined));
  expect(lines).toEqual([
    '1 - connected',
    '1 frontend GET_FEATURES',
    '1 backend GET_FEATURES reply 0x100000000: VERSION_1 (after)',
    '1 frontend SET_VRING_KICK queue 0 [1 fd: eventfd]',
    '1 frontend SET_LOG_FD need_reply [2 fds: /memfd:some, eventfd]',
    '1 - frontend closed',
  ]);
});

test.skipIf(!available)('the channel of the backend is traced too', async () => {
  const { sockets, lines, frontend, backend } = await traced();
  const [ours, theirs] = sockets.pair();
  const requests = own(new Channel(ours, 'requests'));
  frontend.send(REQUEST.SET_BACKEND_REQ_FD, new Uint8Array(0), { fds: [theirs] });
  requireSys('a test').closeFd(theirs);
  const { fds } = await next(backend);
  const asking = own(new Channel(fds[0] as number, 'asking'));
  asking.send(BACKEND_REQUEST.CONFIG_CHANGE_MSG, new Uint8Array(0), { need: true });
  expect(await next(requests)).toMatchObject({ request: 2, flags: 9 });
  requests.send(BACKEND_REQUEST.CONFIG_CHANGE_MSG, U64.write(0n), { reply: true });
  expect(await next(asking)).toMatchObject({ request: 2, flags: 5 });
  requests.close();
  await until('end', () => (asking.read() === 'closed' ? true : undefined));
  expect(lines.slice(2)).toEqual([
    "1 backend's channel CONFIG_CHANGE_MSG need_reply",
    "1 frontend's channel CONFIG_CHANGE_MSG reply ok (after)",
    '1 - frontend closed the backend channel',
  ]);
  expect(lines[1]).toMatch(/^1 frontend SET_BACKEND_REQ_FD \[1 fd: socket:/);
});

test.skipIf(!available)('what is no message passes as it is', async () => {
  const { sockets, lines, frontend, backend } = await traced();
  const bytes = new Uint8Array(100_000);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7) & 0xff;
  // Version 2, and a payload of 99,000 bytes; then a message in pieces; then the beginning of one.
  new DataView(bytes.buffer).setUint32(0, REQUEST.SET_FEATURES, true);
  new DataView(bytes.buffer).setUint32(4, 2, true);
  new DataView(bytes.buffer).setUint32(8, 99_000, true);
  const rest = bytes.subarray(99_012, 99_012 + 20 + 7);
  new DataView(rest.buffer, rest.byteOffset).setUint32(0, REQUEST.SET_VRING_NUM, true);
  new DataView(rest.buffer, rest.byteOffset).setUint32(4, 1, true);
  new DataView(rest.buffer, rest.byteOffset).setUint32(8, 8, true);
  rest.set(VRING_STATE.write(1, 64), 12);
  const sent = bytes.subarray(0, 99_012 + 27);
  const got: Uint8Array[] = [];
  const take = (): void => {
    for (let piece = sockets.receive(backend.fd, 4096); typeof piece !== 'string'; ) {
      got.push(piece.data);
      piece = sockets.receive(backend.fd, 4096);
    }
  };
  for (let at = 0; at < sent.length; ) {
    const n = sockets.send(frontend.fd, sent.subarray(at, at + (at < 99_012 ? 5000 : 3)));
    at += n === 'closed' ? Number.NaN : n;
    take();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const bytesGot = (): number => got.reduce((sum, { length }) => sum + length, 0);
  // Of a header that is not all there nothing passes before the end.
  await until('all of it', () => {
    take();
    return bytesGot() === sent.length - 7 ? true : undefined;
  });
  frontend.close();
  await until('the rest', () => {
    take();
    return bytesGot() === sent.length ? true : undefined;
  });
  expect(Buffer.concat(got).equals(sent)).toBe(true);
  expect(lines.slice(1)).toEqual([
    expect.stringMatching(/^1 frontend SET_FEATURES malformed: 99000 bytes .* must be 1$/),
    '1 frontend SET_VRING_NUM queue 1 size 64',
    '1 - frontend closed',
  ]);
});

test.skipIf(!available)('the command prints, and writes what it printed to a file', async () => {
  const command = new CommandLine();
  const path = folder.path('trace.pcapng');
  const sockets = requireSockets('a test');
  const child = command.start(['vhost', 'trace', listen, connect, '--type', 'net', '--write', path]);
  const finished = command.finish(child);
  await until('socket', () => (existsSync(listen) ? true : undefined));
  // Nobody listens there yet.
  const first = own(new Channel(await until('listener', () => sockets.connect(listen)), 'first'));
  await until('end', () => (first.read() === 'closed' ? true : undefined));
  const listener = sockets.listen(connect);
  owned(listener);
  const frontend = own(new Channel(sockets.connect(listen) as number, 'frontend'));
  const backend = own(new Channel(await until('client', () => sockets.accept(listener)), 'backend'));
  frontend.send(REQUEST.SET_FEATURES, U64.write(1n << 5n));
  await next(backend);
  child.kill('SIGINT');
  await once(child, 'close');
  const { code, out, err } = await finished;
  expect({ code, err }).toEqual({ code: 0, err: '' });
  const lines = out.trim().split('\n');
  expect(lines.map((line) => line.replace(/^[\d:.]{15} /, ''))).toEqual([
    `1 - nobody listens at ${connect}`,
    '2 - connected',
    '2 → SET_FEATURES 0x20: MAC',
  ]);
  expect(existsSync(listen)).toBe(false);
  const [record] = [...readCapture(path)];
  expect(Buffer.from(record?.frame ?? []).toString('hex')).toBe('0200000001000000080000002000000000000000');
  expect(readFileSync(path).includes(Buffer.from(lines[2] ?? ''))).toBe(true);
});
