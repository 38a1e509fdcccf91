import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import {
  ControlClient,
  type ControlServer,
  listDataplanes,
  startControlServer,
  startMetricsServer,
} from '#build/control/index.js';
import { FakeTarget } from '../support/target.ts';

const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});

function newDirectory(): string {
  return join(mkdtempSync(join(tmpdir(), 'ringway-')), 'control');
}

async function start(
  name = 'edge',
  directory = newDirectory(),
): Promise<{ target: FakeTarget; server: ControlServer; directory: string }> {
  const target = new FakeTarget(name);
  const server = await startControlServer(target, { directory });
  open.push(server);
  return { target, server, directory };
}

async function connect(directory: string, name?: string): Promise<ControlClient> {
  const client = await ControlClient.connect(name === undefined ? { directory } : { directory, name });
  open.push(client);
  return client;
}

/** Sends `text` and resolves with all that came back until the server closed, or until `lines` lines. */
function exchange(
  path: string,
  text: string,
  { lines = Number.POSITIVE_INFINITY, end = false } = {},
): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    let got = '';
    const socket = createConnection({ path, allowHalfOpen: true });
    const finish = (): void => {
      socket.destroy();
      resolve(
        got
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line)),
      );
    };
    socket.on('connect', () => (end ? socket.end(text) : socket.write(text)));
    socket.on('data', (chunk) => {
      got += chunk;
      if (got.split('\n').length > lines) finish();
    });
    socket.on('end', finish);
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' || error.code === 'EPIPE' ? finish() : reject(error),
    );
  });
}

test('every method reaches the target and its answer comes back', async () => {
  const { target, directory } = await start();
  const client = await connect(directory);
  expect(client.name).toBe('edge');
  expect(await client.request('stats')).toMatchObject({
    version: 1,
    name: 'edge',
    ports: [{ name: 'in' }, { name: 'out' }],
  });
  expect(await client.request('prometheus')).toContain(
    'ringway_port_rx_packets_total{dataplane="edge",port="in"} 2000\n',
  );
  await client.request('set', { path: 'ports.in.speed', value: '2x' });
  await client.request('port.add', { name: 'new', config: { type: 'null' } });
  await client.request('port.del', { name: 'in' });
  expect(target.calls).toMatchObject([
    { key: 'speed', port: 'in', value: 2 },
    { name: 'new', type: 'null' },
    { deleted: 'in' },
  ]);
  const rule = { match: { 'flow-type': 'udp4', 'dst-port': 53 }, action: { drop: true } };
  expect(await client.request('steer.add', { rule })).toEqual({ id: 1 });
  expect(await client.request('steer.list')).toEqual([{ id: 1, rule, hits: 10 }]);
  await client.request('steer.del', { id: 1 });
  expect(await client.request('steer.list')).toEqual([]);
  const attached = { port: 'in', object: '/filter.o', program: 'main', attach: 'ringway', checked: true };
  expect(await client.request('xdp.attach', { port: 'in', program: '/filter.o' })).toEqual(attached);
  expect(await client.request('xdp.list')).toEqual([attached]);
  expect(await client.request('xdp.detach', { port: 'in' })).toEqual({});
  expect(await client.request('xdp.list')).toEqual([]);
  expect(await client.request('map.list')).toMatchObject([{ name: 'filter/denied', kind: 'LPM_TRIE' }]);
  expect(await client.request('map.update', { map: 'denied', key: '10.0.0.0/8', value: { a: 1 } })).toEqual({});
  expect(await client.request('map.dump', { map: 'denied' })).toEqual([{ key: '10.0.0.0/8', value: { a: 1 } }]);
  expect(await client.request('map.delete', { map: 'denied', key: '10.0.0.0/8' })).toEqual({});
  expect(await client.request('map.dump', { map: 'denied' })).toEqual([]);
  await client.request('stop');
  expect(target.calls.at(-1)).toBe('stop');
});

test('a refusal has the code and the message of the target', async () => {
  const { directory } = await start();
  const client = await connect(directory);
  const refused = (method: string, params?: object): Promise<unknown> =>
    client.request(method, params).catch((error) => error);
  expect(await refused('port.del', { name: 'x' })).toMatchObject({
    code: 'NOT_FOUND',
    message: 'no port x; there are: in, out',
  });
  expect(await refused('set', { path: 'ports.in.rat', value: '1' })).toMatchObject({ code: 'BAD_ARGUMENT' });
  expect(await refused('set', { path: 'ports.in.rate' })).toMatchObject({
    code: 'BAD_REQUEST',
    message: 'params.value: nothing is not text of 1 to 4096 characters',
  });
  expect(await refused('port.add', { name: 'n', config: { type: 'nul' } })).toMatchObject({ code: 'BAD_CONFIG' });
  expect(await refused('xdp.attach', { port: 'x', program: '/filter.o' })).toMatchObject({ code: 'NOT_FOUND' });
  expect(await refused('xdp.attach', { port: 'in', program: { objct: 'x' } })).toMatchObject({ code: 'BAD_CONFIG' });
  expect(await refused('xdp.attach', { program: '/filter.o' })).toMatchObject({ code: 'BAD_REQUEST' });
  expect(await refused('xdp.detach', { port: 'in' })).toMatchObject({ code: 'NOT_FOUND' });
  expect(await refused('map.dump', { map: 'denid' })).toMatchObject({ code: 'NOT_FOUND' });
  expect(await refused('map.delete', { map: 'denied', key: 1 })).toMatchObject({ code: 'NOT_FOUND' });
  expect(await refused('map.update', { map: 7 })).toMatchObject({ code: 'BAD_REQUEST' });
  expect(await refused('statz')).toMatchObject({ message: 'method "statz" is unknown; did you mean "stats"?' });
  expect(await refused('constructor')).toMatchObject({ code: 'BAD_REQUEST' });
});

test('a watch streams until the client goes', async () => {
  const { target, directory } = await start();
  const client = await connect(directory);
  const seen: unknown[] = [];
  const stream = client.stream('xdp.watch', {}, (event) => seen.push(event));
  stream.catch(() => {});
  await expect.poll(() => target.watchers.size).toBe(1);
  const reports = [
    { kind: 'log', text: 'hello' },
    { kind: 'event', text: 'ring', data: 'dead' },
    { kind: 'aborted', text: 'port in: 1 packets' },
  ] as const;
  for (const report of reports) target.report(report);
  await expect.poll(() => seen).toEqual(reports);
  client.close();
  await expect.poll(() => target.watchers.size).toBe(0);
});

test('a trace streams until its limit, with a filter, and stops when the client goes', async () => {
  const { target, directory } = await start();
  const client = await connect(directory);
  const events: unknown[] = [];
  const done = client.stream('trace', { port: 'in', limit: 2, filter: 'udp' }, (event) => events.push(event));
  await client.request('stats');
  for (const line of ['udp 1', 'tcp 2', 'udp 3', 'udp 4']) target.packet(line);
  expect(await done).toEqual({ packets: 2, dropped: 0 });
  expect(events).toEqual([{ line: 'udp 1' }, { line: 'udp 3' }]);
  expect(target.listeners.size).toBe(0);
  const endless = client.stream('trace', { port: 'in' }, () => {}).catch((error) => error);
  await client.request('stats');
  expect(target.listeners.size).toBe(1);
  client.close();
  expect(await endless).toMatchObject({ code: 'SYSTEM' });
  await expect.poll(() => target.listeners.size).toBe(0);
});

test('the socket is for its user alone; a stale one is replaced, a live one is not', async () => {
  const { server, directory } = await start();
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(server.path).mode & 0o777).toBe(0o600);
  await expect(startControlServer(new FakeTarget(), { directory })).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining('named edge runs already'),
  });
  const path = join(directory, 'stale.sock');
  const listenAndDie = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', listenAndDie]);
  expect(existsSync(path)).toBe(true);
  expect(await listDataplanes(directory)).toEqual(['edge']);
  await start('stale', directory);
  expect(await listDataplanes(directory)).toEqual(['edge', 'stale']);
});

test("a directory that is a link, and a file in the socket's place, are refused", async () => {
  const directory = newDirectory();
  symlinkSync(tmpdir(), directory);
  await expect(startControlServer(new FakeTarget(), { directory })).rejects.toMatchObject({
    code: 'SYSTEM',
    message: expect.stringContaining('is no directory'),
  });
  const { directory: other } = await start();
  writeFileSync(join(other, 'file.sock'), '');
  await expect(startControlServer(new FakeTarget('file'), { directory: other })).rejects.toThrow(
    /file.sock: is no socket; remove it/,
  );
  await expect(startControlServer(new FakeTarget('x'.repeat(120)), { directory: other })).rejects.toThrow(
    /at most 107 bytes/,
  );
});

test('without a name the only dataplane is meant', async () => {
  const { directory } = await start('one');
  expect((await connect(directory)).name).toBe('one');
  await start('two', directory);
  expect(await listDataplanes(directory)).toEqual(['one', 'two']);
  await expect(ControlClient.connect({ directory })).rejects.toThrow(
    /several dataplanes run: one, two; choose one with --name/,
  );
  await expect(ControlClient.connect({ directory, name: 'tow' })).rejects.toThrow(
    /no dataplane named "tow" runs; did you mean "two"/,
  );
  await expect(ControlClient.connect({ directory: newDirectory() })).rejects.toThrow(/no dataplane runs/);
});

test('close ends streams and connections and removes the socket', async () => {
  const { server, target, directory } = await start();
  const client = await connect(directory);
  const trace = client.stream('trace', { port: 'in' }, () => {});
  await client.request('stats');
  await server.close();
  expect(await trace).toEqual({ packets: 0, dropped: 0 });
  expect(target.listeners.size).toBe(0);
  expect(existsSync(server.path)).toBe(false);
});

test('broken requests are answered, and the connection lives on', async () => {
  const { server } = await start();
  const broken = [
    'nonsense',
    '[]',
    '{}',
    '{"id":-1,"method":"stats"}',
    '{"id":1}',
    '{"id":2,"method":"set","params":[]}',
    '{"id":3,"method":"steer.del","params":{"id":"x"}}',
    '"\\u0000"',
    '{"id":4,"method":"__proto__"}',
  ];
  const answers = await exchange(server.path, `${broken.join('\n')}\n\n{"id":9,"method":"steer.list"}\n`, {
    end: true,
  });
  expect(answers).toHaveLength(broken.length + 2);
  expect(answers[0]).toEqual({ ringway: 1, name: 'edge', pid: process.pid });
  for (const answer of answers.slice(1, -1)) expect(answer).toMatchObject({ error: { code: 'BAD_REQUEST' } });
  expect(answers.at(-1)).toEqual({ id: 9, result: [] });
});

test('a line of more than 64 KiB is refused and the connection closed', async () => {
  const { server } = await start();
  const answers = await exchange(server.path, 'x'.repeat(65537));
  expect(answers[1]).toMatchObject({
    id: null,
    error: { code: 'BAD_REQUEST', message: 'a request has more than 65536 bytes' },
  });
  const longest = `{"id":1,"method":"steer.list"${' '.repeat(65536 - 30)}}`;
  expect(longest.length).toBe(65536);
  expect(await exchange(server.path, `${longest}\n`, { lines: 2 })).toMatchObject([{}, { id: 1, result: [] }]);
});

test('a flood of requests is answered in full, and others are served meanwhile', async () => {
  const { server, directory } = await start();
  const flood = Array.from({ length: 3000 }, (_, id) => JSON.stringify({ id, method: 'stats' })).join('\n');
  const flooded = exchange(server.path, `${flood}\n`, { lines: 3001 });
  const client = await connect(directory);
  expect(await client.request('steer.list')).toEqual([]);
  const answers = (await flooded) as { id: number }[];
  expect(new Set(answers.slice(1).map(({ id }) => id)).size).toBe(3000);
});

test('a client that does not read loses events, and they are counted', async () => {
  const { target, directory, server } = await start();
  const slow = createConnection(server.path);
  slow.pause();
  open.push({ close: () => slow.destroy() });
  slow.write('{"id":1,"method":"trace","params":{"port":"in","limit":100000}}\n');
  await expect.poll(() => target.listeners.size).toBe(1);
  const line = 'x'.repeat(10_000);
  for (let packet = 0; packet < 2000; packet++) target.packet(line);
  const before = process.memoryUsage().external;
  for (let packet = 0; packet < 20_000; packet++) target.packet(line);
  expect(process.memoryUsage().external - before).toBeLessThan(50 << 20);
  expect(await (await connect(directory)).request('steer.list')).toEqual([]);
});

test('the 65th client is told so', async () => {
  const { server, directory } = await start();
  const clients = await Promise.all(Array.from({ length: 64 }, () => connect(directory)));
  expect(await exchange(server.path, '')).toMatchObject([{ ringway: 1, error: { code: 'BUSY' } }]);
  await expect(ControlClient.connect({ directory })).rejects.toMatchObject({ code: 'BUSY' });
  clients[0]?.close();
  await expect
    .poll(() =>
      connect(directory).then(
        (client) => client.name,
        () => '',
      ),
    )
    .toBe('edge');
});

test('a server of another kind is refused', async () => {
  const { directory } = await start();
  const other = createServer((socket) => socket.end('{"ringway":2,"name":"x"}\n')).listen(join(directory, 'next.sock'));
  open.push(other);
  await expect(ControlClient.connect({ directory, name: 'next' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('metrics over HTTP', async () => {
  const server = await startMetricsServer(new FakeTarget(), { host: '127.0.0.1', port: 0 });
  open.push(server);
  const response = await fetch(server.url);
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(await response.text()).toContain('# TYPE ringway_port_rx_packets_total counter\n');
  expect((await fetch(server.url.replace('/metrics', '/'))).status).toBe(404);
  expect((await fetch(server.url, { method: 'POST' })).status).toBe(405);
  const { port } = new URL(server.url);
  await expect(startMetricsServer(new FakeTarget(), { host: '127.0.0.1', port: Number(port) })).rejects.toMatchObject({
    code: 'SYSTEM',
    message: expect.stringContaining('metrics.listen: 127.0.0.1:'),
  });
});
