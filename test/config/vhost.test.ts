import { expect, test } from 'vitest';
import { parseConfig, parsePort, parsePortArguments } from '#build/config/index.js';

test('a port that the command line read is read again as it is by the dataplane', () => {
  for (const words of [
    ['type=vhost-user', 'socket=vm.sock', 'queues=2', 'mode=client', 'notify=interrupt', 'packed=false'],
    ['type=vhost-user', 'socket=/run/vm.sock', 'mac=02:00:00:00:00:07'],
  ]) {
    const { name, ...config } = parsePortArguments('vm', words);
    expect(parsePort(name, config, { directory: '/elsewhere' })).toEqual({ name, ...config });
  }
});

test('disks have absolute paths, and queues of sizes that rings can have', () => {
  const text = (size: number): string =>
    `version: 1\nports: { none: { type: null } }\ndisks: { root: { socket: run/root.sock, file: root.img, queueSize: ${size} } }`;
  const [disk] = parseConfig(text(128), { file: '/etc/vm/t.yaml' }).disks;
  expect(disk).toEqual({
    name: 'root',
    socket: '/etc/vm/run/root.sock',
    file: '/etc/vm/root.img',
    server: true,
    readOnly: false,
    queues: 1,
    queueSize: 128,
    packed: true,
  });
  expect(() => parseConfig(text(100), { file: 't.yaml' })).toThrow(
    't.yaml:3:57 disks.root.queueSize: 100 is no power of two; use one',
  );
});
