import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addPort } from '#build/cli/port.js';
import { addSet } from '#build/cli/set.js';
import { addSteer } from '#build/cli/steer.js';
import { type ControlServer, startControlServer } from '#build/control/index.js';
import { CommandLine, type Result } from '../support/command.ts';
import { FakeTarget } from '../support/target.ts';

const command = new CommandLine();
const target = new FakeTarget();
let server: ControlServer;

beforeAll(async () => {
  server = await startControlServer(target, { directory: command.sockets });
});
afterAll(() => server.close());

const ringway = (...args: string[]): Promise<Result> => command.run(...args);

test('check says ok, or all that is wrong, with 2', async () => {
  expect(await ringway('check', 'examples/edge.yaml')).toEqual({ code: 0, out: 'ok: 8 ports, 2 lcores\n', err: '' });
  expect(await ringway('check', 'examples/replay.yaml', '--set', 'ports.in.pth=x', '--set', 'lcores=0')).toEqual({
    code: 2,
    out: '',
    err: expect.stringMatching(/^--set lcores: 0 is not .*\n--set ports\.in\.pth: .*did you mean "path"\?\n$/),
  });
  expect(await ringway('check', 'none.yaml')).toEqual({
    code: 2,
    out: '',
    err: 'none.yaml: there is no such file; check the path\n',
  });
});

test('wrong usage exits with 2, help and version with 0', async () => {
  expect(await ringway('chekc')).toMatchObject({
    code: 2,
    out: '',
    err: expect.stringContaining('Did you mean check?'),
  });
  expect(await ringway('check')).toMatchObject({
    code: 2,
    err: expect.stringContaining("missing required argument 'file'"),
  });
  expect(await ringway('--version')).toEqual({ code: 0, out: '0.1.0\n', err: '' });
  expect(await ringway('set', '--help')).toMatchObject({ code: 0, out: expect.stringContaining('ports.NAME.rate') });
  expect(await ringway('run', 'examples/replay.yaml', '--duration', 'soon')).toMatchObject({
    code: 2,
    err: expect.stringContaining('--duration: "soon" is not a time'),
  });
});

test('stats as a table, as JSON, for Prometheus', async () => {
  const table = await ringway('stats', '--name', 'edge');
  expect(table).toMatchObject({ code: 0, err: '' });
  expect(table.out).toContain('PORT  TYPE');
  const json = await ringway('stats', '--json');
  expect(JSON.parse(json.out)).toMatchObject({ version: 1, name: 'edge' });
  expect((await ringway('stats', '--prometheus')).out).toContain('ringway_running{dataplane="edge"} 1\n');
  expect(await ringway('stats', '--name', 'egde')).toEqual({
    code: 1,
    out: '',
    err: 'ringway: no dataplane named "egde" runs; did you mean "edge"?\n',
  });
});

test('set, port and steer reach the dataplane', async () => {
  target.calls.length = 0;
  expect(await command.call(addSet, 'set', 'ports.in.rate=500kpps')).toEqual({ code: 0, out: '', err: '' });
  expect(await command.call(addSet, 'set', 'ports.in.rte=5')).toMatchObject({
    code: 2,
    err: expect.stringContaining('did you mean "ports.in.rate"'),
  });
  expect(await command.call(addPort, 'port', 'add', 'tap', 'type=capture', 'write=a b.pcap', 'vlan.access=7')).toEqual({
    code: 0,
    out: '',
    err: '',
  });
  expect(await command.call(addPort, 'port', 'add', 'tap', 'type=capture', 'wrte=x')).toMatchObject({
    code: 2,
    err: expect.stringContaining('ports.tap.wrte: is not a key of a capture port; did you mean "write"?'),
  });
  expect(await command.call(addPort, 'port', 'del', 'nope')).toEqual({
    code: 1,
    out: '',
    err: 'ringway: no port nope; there are: in, out\n',
  });
  expect(target.calls).toMatchObject([
    { key: 'rate', value: 500_000 },
    { name: 'tap', write: resolve('a b.pcap'), vlan: { access: 7 } },
  ]);
  expect(
    await command.call(addSteer, 'steer', 'add', '{match: {flow-type: udp4, dst-port: 53}, action: {drop: true}}'),
  ).toEqual({
    code: 0,
    out: '1\n',
    err: '',
  });
  expect((await command.call(addSteer, 'steer', 'list')).out).toContain(
    '{ match: { flow-type: udp4, dst-port: 53 }, action: { drop: true } }',
  );
  expect(await command.call(addSteer, 'steer', 'add', '{match: {}}')).toMatchObject({
    code: 2,
    err: expect.stringContaining('rule.match: is empty'),
  });
  expect(await command.call(addSteer, 'steer', 'del', '1')).toMatchObject({ code: 0 });
  expect(await command.call(addSteer, 'steer', 'del', '1')).toMatchObject({ code: 1 });
  expect(await command.call(addSteer, 'steer', 'del', 'x')).toMatchObject({ code: 2 });
});

test('trace prints packets until the limit, without what a terminal would obey', async () => {
  const child = command.start(['trace', 'in', '--limit', '2']);
  const done = command.finish(child);
  await expect.poll(() => target.listeners.size, { timeout: 5000 }).toBe(1);
  target.packet('udp \u001b[2J 1');
  target.packet('udp 2');
  expect(await done).toEqual({ code: 0, out: 'udp .[2J 1\nudp 2\n', err: '' });
});

test('a trace ends quietly on Ctrl-C and when its reader goes', async () => {
  for (const how of ['signal', 'pipe']) {
    const child = command.start(['trace', 'in']);
    const done = command.finish(child);
    await expect.poll(() => target.listeners.size, { timeout: 5000 }).toBe(1);
    if (how === 'signal') child.kill('SIGINT');
    else child.stdout?.destroy();
    const packets = setInterval(() => target.packet('x'), 5);
    expect(await done).toMatchObject({ code: 0, err: '' });
    clearInterval(packets);
    await expect.poll(() => target.listeners.size).toBe(0);
  }
});

test('a file that is no configuration never makes a stack trace', async () => {
  const file = join(command.runtime, 'bad.yaml');
  writeFileSync(file, '['.repeat(100_000));
  const { code, err } = await ringway('run', file);
  expect(code).toBe(2);
  expect(err).not.toMatch(/^ +at /m);
});
