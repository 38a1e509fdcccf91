import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { RunningDataplane } from 'ringway';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMap } from '#build/cli/map.js';
import { addStats } from '#build/cli/stats.js';
import { addXdp } from '#build/cli/xdp.js';
import { type ControlServer, startControlServer } from '#build/control/index.js';
import { CommandLine, type Result } from '../support/command.ts';
import { problemsOf, start } from '../support/dataplanes.ts';
import { writeObject } from '../xdp/support/object.ts';

const command = new CommandLine();
const ADD: Record<string, (program: Command) => void> = { xdp: addXdp, map: addMap, stats: addStats };
const ringway = (name: string, ...args: string[]): Promise<Result> => command.call(ADD[name] ?? addXdp, name, ...args);
const done = (out = ''): Result => ({ code: 0, out, err: '' });
const list = resolve('examples/xdp/drop-list.o');
const at = (name: string): string => join(command.runtime, name);
let dataplane: RunningDataplane;
let server: ControlServer;

beforeAll(async () => {
  dataplane = await start({
    version: 1,
    name: 'edge',
    ports: { in: { type: 'generator', rate: '20kpps', src: '198.18.0.0/24', flows: 16 }, out: { type: 'null' } },
  });
  server = await startControlServer(dataplane, { directory: command.sockets });
});
afterAll(async () => {
  await server.close();
  expect(problemsOf(await dataplane.stop())).toEqual([]);
});

const xdpOf = (port: string) => dataplane.snapshot().ports.find(({ name }) => name === port)?.xdp;

test('a program is attached, listed, seen in stats and metrics, and detached', async () => {
  expect(await ringway('xdp', 'list')).toEqual(done('no port runs an XDP program\n'));
  expect(await ringway('map', 'list')).toEqual(done('no maps\n'));
  expect(await ringway('xdp', 'attach', 'in', list)).toEqual(done());
  expect(await ringway('xdp', 'list')).toEqual(
    done('PORT  OBJECT     PROGRAM        ATTACH   CHECKED\nin    drop-list  xdp_drop_list  ringway  yes\n'),
  );
  await expect.poll(() => xdpOf('in')?.pass ?? 0).toBeGreaterThan(100);
  const metrics = (await ringway('stats', '--prometheus')).out;
  expect(metrics).toMatch(/^ringway_port_xdp_packets_total\{dataplane="edge",port="in",action="pass"\} [1-9]\d*$/m);
  expect(metrics).toMatch(/^ringway_port_xdp_packets_total\{dataplane="edge",port="in",action="drop"\} 0$/m);
  expect((await ringway('stats')).out).toMatch(/^XDP +PROGRAM.*\nin +drop-list\/xdp_drop_list /m);
  // The directory of whoever asks, not of the dataplane.
  writeFileSync(at('drop.o'), writeObject('drop', 'mov %r0, 1\nexit'));
  const child = command.start(['xdp', 'attach', 'in', 'drop.o', '--prog', 'drop', '--trusted'], {
    cwd: command.runtime,
  });
  expect(await command.finish(child)).toEqual(done());
  expect(dataplane.listXdp()).toEqual([
    { port: 'in', object: 'drop', program: 'drop', attach: 'ringway', checked: false },
  ]);
  await expect.poll(() => xdpOf('in')?.drop ?? 0).toBeGreaterThan(100);
  expect(await ringway('xdp', 'detach', 'in')).toEqual(done());
  expect(dataplane.listXdp()).toEqual([]);
  expect((await ringway('stats', '--prometheus')).out).not.toContain('port_xdp_packets');
});

test('what cannot be attached is refused, and the port runs on as before', async () => {
  await dataplane.attachXdp('in', list);
  const refusals: [string[], number, RegExp][] = [
    [['attach', 'nope', list], 1, /^ringway: no port "?nope/],
    [['attach', 'in', at('none.o')], 2, /none\.o cannot be read/],
    [['attach', 'in', 'package.json'], 1, /package\.json/],
    [['attach', 'in', resolve('examples/xdp/vlan.o')], 1, /2 XDP programs/],
    [['attach', 'in', list, '--prog', 'nope'], 1, /no program "nope"; there are: xdp_drop_list/],
    [['attach', 'in', list, '--kernel'], 2, /attach: kernel is for af-xdp ports, and in is a generator port/],
    [['detach', 'out'], 1, /^ringway: port out: runs no XDP program\n$/],
  ];
  for (const [args, expected, message] of refusals) {
    const { code, out, err } = await ringway('xdp', ...args);
    expect([code, out], err).toEqual([expected, '']);
    expect(err).toMatch(message);
    expect(err).not.toMatch(/^ +at /m);
  }
  expect(dataplane.listXdp()).toMatchObject([{ port: 'in', object: 'drop-list' }]);
  await dataplane.detachXdp('in');
});

test('maps are listed, written, dumped and emptied', async () => {
  await dataplane.attachXdp('in', list);
  const maps = await ringway('map', 'list');
  expect(maps.out).toMatch(/^MAP +KIND +KEY +VALUE +ENTRIES\n/);
  expect(maps.out).toMatch(/^drop-list\/denied +LPM_TRIE +8 +8 +65536$/m);
  expect(JSON.parse((await ringway('map', 'list', '--json')).out)).toContainEqual({
    name: 'drop-list/denied',
    kind: 'LPM_TRIE',
    keyBytes: 8,
    valueBytes: 8,
    maxEntries: 65536,
  });
  expect(await ringway('map', 'update', 'denied', '203.0.113.0/24', '7')).toEqual(done());
  expect(await ringway('map', 'update', 'drop-list/denied', '{prefixlen: 32, addr: [203, 0, 113, 9]}', '8')).toEqual(
    done(),
  );
  const entries = [
    { key: { prefixlen: 24, addr: 'cb 00 71 00' }, value: 7 },
    { key: { prefixlen: 32, addr: 'cb 00 71 09' }, value: 8 },
  ];
  const dumped = JSON.parse((await ringway('map', 'dump', 'denied', '--json')).out) as typeof entries;
  expect(dumped.sort((a, b) => a.value - b.value)).toEqual(entries);
  expect((await ringway('map', 'dump', 'denied')).out.split('\n').sort()).toEqual([
    '',
    ...entries.map(({ key, value }) => `${JSON.stringify(key)}: ${value}`),
  ]);
  // A key as it was printed.
  expect(await ringway('map', 'delete', 'denied', JSON.stringify(entries[0]?.key))).toEqual(done());
  expect(await ringway('map', 'delete', 'denied', '203.0.113.9/32')).toEqual(done());
  expect(await ringway('map', 'dump', 'denied')).toEqual(done());
  expect(await ringway('map', 'delete', 'denied', '203.0.113.9/32')).toMatchObject({
    code: 1,
    err: expect.stringContaining('no entry "203.0.113.9/32"'),
  });
  expect(await ringway('map', 'update', 'denied', '203.0.113.9', '8')).toMatchObject({
    code: 2,
    err: expect.stringMatching(/map denied: key: "203\.0\.113\.9" is not of 8 bytes/),
  });
  expect(await ringway('map', 'update', 'denied', '{prefixlen: 32, adr: 1}', '8')).toMatchObject({
    code: 2,
    err: expect.stringMatching(/no member adr\. It has prefixlen, addr/),
  });
  expect(await ringway('map', 'dump', 'denid')).toMatchObject({
    code: 1,
    err: expect.stringContaining('no map "denid"'),
  });
  await dataplane.detachXdp('in');
});

test('watch prints what programs do until Ctrl-C', async () => {
  writeFileSync(at('odd.o'), writeObject('odd', 'mov %r0, 9\nexit'));
  await dataplane.attachXdp('in', at('odd.o'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const child = command.start(['xdp', 'watch']);
    let seen = '';
    child.stdout?.on('data', (chunk) => {
      seen += chunk;
    });
    const ended = command.finish(child);
    await expect
      .poll(() => seen, { timeout: 10_000 })
      .toMatch(/^aborted port in: \d+ packets, the last: odd returned 9/m);
    child.kill(signal);
    expect(await ended).toMatchObject({ code: 0, err: '' });
  }
  await dataplane.detachXdp('in');
});
