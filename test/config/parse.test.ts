import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { loadConfig, parseConfig, parsePort, parsePortArguments, parseXdp } from '#build/config/index.js';

const SMALLEST = `version: 1
ports:
  in: { type: capture, path: in.pcap, learn: false }
  out: { type: capture, write: out.pcapng }
`;

/** The lines of the error that `text` is refused with. */
function errorsOf(text: string, set: string[] = []): string[] {
  try {
    parseConfig(text, { file: 'dir/t.yaml', set });
  } catch (error) {
    expect(error).toMatchObject({ name: 'RingwayError', code: 'BAD_CONFIG' });
    return (error as Error).message.split('\n');
  }
  throw new Error('accepted');
}

test('the smallest configuration has all defaults', () => {
  const common = { lcore: undefined, queues: 1, vlan: { trunk: 'all' } };
  expect(parseConfig(SMALLEST, { file: 'dir/t.yaml' })).toEqual({
    version: 1,
    disks: [],
    name: 't',
    lcores: [{}],
    memory: 2 ** 30,
    seed: 1,
    ports: [
      {
        ...common,
        name: 'in',
        type: 'capture',
        path: resolve('dir/in.pcap'),
        learn: false,
        speed: 'full',
        loop: 1,
        format: 'pcap',
      },
      {
        ...common,
        name: 'out',
        type: 'capture',
        write: resolve('dir/out.pcapng'),
        learn: true,
        speed: 'full',
        loop: 1,
        format: 'pcapng',
      },
    ],
    switch: { ageing: 300, macs: 8192, reserved: 'drop', static: [], routes: [], mirrors: [] },
    steering: [],
  });
});

test('engines that copy have defaults, one for each lcore, and a module has a URL', () => {
  const asyncOf = (text: string) => parseConfig(`${SMALLEST}lcores: 3\nasync: ${text}\n`, { file: 'dir/t.yaml' }).async;
  expect(asyncOf('{}')).toEqual({
    integration: 'defer',
    assignment: 'lcore',
    engine: { kind: 'worker' },
    engines: 3,
    threshold: 128,
    attempts: 1,
    delay: 0,
    ringFull: 'wait',
  });
  const url = pathToFileURL(resolve('dir/e.mjs')).href;
  expect(asyncOf('{ engine: { module: e.mjs, options: { polls: 3 } }, engines: 2 }')).toMatchObject({
    engine: { kind: 'module', url, options: { polls: 3 } },
    engines: 2,
  });
  expect(errorsOf(`${SMALLEST}async: { integration: v5, engine: gpu, delay: 2000, assignment: lcores }\n`)).toEqual([
    expect.stringMatching(/async\.integration: "v5" is not an integration; use defer, v3, v4 or vq; did you mean/),
    expect.stringMatching(/async\.engine: "gpu" is not an engine; use worker, cpu, or \{module: PATH\}$/),
    expect.stringMatching(/async\.delay: 2000 is not a number of loops; use a whole number from 0 to 1024$/),
    expect.stringMatching(/async\.assignment: "lcores" is not an assignment; .*; did you mean "lcore"\?$/),
  ]);
});

test('the examples are accepted', () => {
  expect(loadConfig('examples/edge.yaml').ports.map(({ name }) => name)).toEqual([
    'load',
    'replay',
    'red',
    'blue',
    'uplink',
    'vm1',
    'vm2',
    'monitor',
  ]);
  expect(loadConfig('examples/spread.yaml').eventdev?.workers).toEqual([1, 2]);
  expect(loadConfig('examples/replay.yaml', { set: ['ports.in.path=x.pcap'] }).ports[0]).toMatchObject({
    path: resolve('x.pcap'),
  });
});

/** Ports and four lcores, with `eventdev` as it is given. */
const spread = (eventdev: string, ports = 'in: {type: null}', rest = ''): string =>
  `version: 1\nlcores: 4\nports: {${ports}}\neventdev: ${eventdev}\n${rest}`;

test('an event device has workers by number or by name, stages before the switch, and credits for all lcores', () => {
  const parse = (text: string): unknown => parseConfig(text, { file: 'dir/t.yaml' }).eventdev;
  const defaults = { stages: [], schedule: 'atomic', newEventsLimit: 4096, migration: 'flow-group', flowHashBits: 13 };
  expect(parse(spread('{workers: 3}'))).toEqual({ ...defaults, workers: [1, 2, 3] });
  const stages = '[{module: ./a.mjs, options: {b: [1]}, memory: 1KiB}, {module: /c.mjs}, switch]';
  expect(parse(spread(`{workers: [2, 0], stages: ${stages}, schedule: parallel, migration: single-flow}`))).toEqual({
    workers: [0, 2],
    stages: [
      { module: `file://${resolve('dir/a.mjs')}`, options: { b: [1] }, memory: 1024 },
      { module: 'file:///c.mjs', options: {}, memory: 0 },
    ],
    schedule: 'parallel',
    newEventsLimit: 4096,
    migration: 'single-flow',
    flowHashBits: 15,
  });
  const many = spread('{workers: 50}').replace('lcores: 4', 'lcores: 60');
  expect(parse(many)).toMatchObject({ newEventsLimit: 60 * 256 });
  expect(parse(SMALLEST)).toBeUndefined();
});

test.each([
  ['no workers', '{}', 'eventdev.workers: is missing; give how many of the lcores, or a list such as [2, 3]'],
  ['too many workers', '{workers: 4}', 'eventdev.workers: 4 of 4 lcores, and the others serve the ports; use fewer,'],
  ['all lcores', '{workers: [0, 1, 2, 3]}', 'eventdev.workers: are all lcores, and one at least is to serve the ports'],
  ['an lcore too many', '{workers: [1, 4]}', 'eventdev.workers[1]: 4 is not an lcore; use 0 to 3, or raise lcores'],
  ['one twice', '{workers: [1, 1]}', 'eventdev.workers[1]: 1 is in the list already; give each lcore once'],
  [
    'a word',
    '{workers: all}',
    'eventdev.workers: "all" is not a set of workers; use how many of the lcores, or a list',
  ],
  ['no stages', '{workers: 1, stages: []}', 'eventdev.stages: 0 items are not a list of stages; use a list of 1 to 15'],
  [
    'no switch',
    '{workers: 1, stages: [{module: x}]}',
    'eventdev.stages[0]: is a module and the last stage; put switch',
  ],
  ['two switches', '{workers: 1, stages: [switch, switch]}', 'eventdev.stages[0]: is switch and not the last stage'],
  [
    'a stage',
    '{workers: 1, stages: [swich]}',
    'eventdev.stages[0]: "swich" is not a stage; use switch, or {module: PATH}',
  ],
  ['a key of a stage', '{workers: 1, stages: [{modul: x}, switch]}', 'is not a key of a stage; did you mean "module"?'],
  [
    'a schedule',
    '{workers: 1, schedule: ordered}',
    'eventdev.schedule: "ordered" is not a schedule; use atomic or parallel',
  ],
  [
    'a strategy',
    '{workers: 1, migration: single}',
    'eventdev.migration: "single" is not a strategy; use flow-group or',
  ],
  ['bits', '{workers: 1, flowHashBits: 14}', 'eventdev.flowHashBits: 14 is not a number of bits; use 13 or 15'],
  [
    'few credits',
    '{workers: 1, newEventsLimit: 1000}',
    'newEventsLimit: 1000 is too few for 4 lcores; use 1024 or more',
  ],
  [
    'many credits',
    '{workers: 1, newEventsLimit: 20000}',
    'newEventsLimit: 20000 is not a number of events; use a whole',
  ],
  ['a key', '{worker: 1}', 'eventdev.worker: is not a key of eventdev; did you mean "workers"?'],
])('refuses an event device with %s', (_, eventdev, message) => {
  expect(errorsOf(spread(eventdev)).join('\n')).toContain(message);
});

test('what contradicts an event device is refused where it stands', () => {
  const steering = 'steering: [{match: {vlan: 1}, action: {lcore: 1}}, {match: {in-port: in}, action: {queue: 0}}]\n';
  expect(errorsOf(spread('{workers: [3]}', 'in: {type: null, lcore: 3}', steering))).toEqual([
    expect.stringMatching(/:3:\d+ ports\.in\.lcore: 3 is a worker of the event device; use an lcore that is none$/),
    expect.stringMatching(/:5:\d+ steering\[0\]\.action\.lcore: is for the event device to choose; use port or drop$/),
    expect.stringMatching(/:5:\d+ steering\[1\]\.action\.queue: is for the event device to choose; use port or drop$/),
  ]);
  const queues = spread('{workers: [0], stages: [{module: x}, switch]}').replace('lcores: 4', 'lcores: 16');
  expect(errorsOf(queues)).toEqual([
    expect.stringMatching(/ eventdev: needs 17 queues, one for each stage \(2\) and each lcore .*; use at most 16$/),
  ]);
});

test('all errors come at once, in the order of the file, each with its place', () => {
  const text = `version: 1
lcores: 2
ports:
  in: {type: captur, pat: x}
  out:
    type: capture
    speeed: 3
    speed: quick
  gen:
    type: generator
    flows: 0
    size: [{size: 3, weight: 1}]
    vlan: {acess: 3}
    lcore: 4
  out: {}
switch:
  static: [{mac: 1, port: inn}]
  routes: [{prefix: 10.0.0.1/8, port: in}]
steering:
  - match: {flow-type: tcp5}
    action: {drop: false}
  - match: {src-ip: 10.0.0.1, dst-ip: "::1"}
    action: {port: x, lcore: 3}
`;
  expect(errorsOf(text, ['ports.in.pth=3', 'prts.in=3', 'ports.inn.path=x'])).toEqual([
    'dir/t.yaml:4:8 ports.in.type: "captur" is not a type of port; use one of af-packet, af-xdp, capture, generator, guest, module, null, tap, vhost-user, virtio-user, xen-netback, xen-netfront; did you mean "capture"?',
    expect.stringMatching(/^dir\/t.yaml:7:5 ports.out.speeed: is not a key of a capture port; did you mean "speed"\?$/),
    'dir/t.yaml:8:5 ports.out.speed: "quick" is not a speed; use recorded, full, or a factor such as 2x',
    'dir/t.yaml:11:5 ports.gen.flows: 0 is not a number of flows; use a whole number from 1 to 65536',
    'dir/t.yaml:12:13 ports.gen.size[0].size: 3 is not a frame size; use a whole number from 60 to 9000',
    'dir/t.yaml:13:12 ports.gen.vlan.acess: is not a key of vlan; did you mean "access"?',
    'dir/t.yaml:14:5 ports.gen.lcore: 4 is not an lcore; use 0 to 1, or raise lcores',
    'dir/t.yaml:15:3 ports.out: is given twice, first at dir/t.yaml:5:3; keep one of them',
    expect.stringContaining('dir/t.yaml:17:13 switch.static[0].mac: 1 is not a MAC address'),
    'dir/t.yaml:17:21 switch.static[0].port: "inn" is not a port; did you mean "in"?',
    'dir/t.yaml:18:13 switch.routes[0].prefix: "10.0.0.1/8" has bits set behind its length; use 10.0.0.0/8',
    expect.stringContaining('dir/t.yaml:20:13 steering[0].match.flow-type: "tcp5" is not a flow type'),
    'dir/t.yaml:21:14 steering[0].action.drop: false is refused; use drop: true',
    'dir/t.yaml:22:5 steering[1].match: asks for IPv4 and IPv6 in one packet; make two rules',
    'dir/t.yaml:23:5 steering[1].action: has port and lcore; use one of drop, port, lcore, queue',
    'dir/t.yaml:23:14 steering[1].action.port: "x" is not a port; known: in, out, gen',
    'dir/t.yaml:23:23 steering[1].action.lcore: 3 is not an lcore; use 0 to 1, or raise lcores',
    '--set ports.inn.path ports.inn: is not a port; did you mean "in"?',
    '--set prts.in prts: is not a key of the configuration; did you mean "ports"?',
  ]);
});

test.each([
  ['an empty text', '', /:1:1: nothing is not the configuration; use a mapping with version,/],
  ['a version', SMALLEST.replace('1', '2'), /version: 2 is not a known version; use 1/],
  ['no ports', 'version: 1\nports: {}', /ports: has 0 ports; use 1 to 255/],
  ['a port without a type', 'version: 1\nports: {a: {}}', /ports.a.type: is missing; use one of af-packet, af-xdp/],
  ['a port that is nothing', 'version: 1\nports: {a: }', /ports.a: nothing is not a port/],
  ['a bad port name', 'version: 1\nports: {1a: {type: null}}', /ports.1a: "1a" is not a port name; use a letter/],
  ['a capture of nothing', 'version: 1\nports: {a: {type: capture}}', /ports.a: has neither path nor write/],
  ['queues', 'version: 1\nports: {a: {type: null, queues: 2}}', /queues: 2 is not .*only generators and guests/],
  ['no routerMac', `${SMALLEST}switch: {routes: [{prefix: ::/0, port: in}]}`, /switch.routerMac: is missing and there/],
  ['a broadcast station', `${SMALLEST}switch: {routerMac: "ff:ff:ff:ff:ff:ff"}`, /routerMac: "ff:.*use a unicast one/],
  ['both kinds of VLAN', `version: 1\nports: {a: {type: null, vlan: {access: 1, trunk: all}}}`, /has access and trunk/],
  ['mixed families', `version: 1\nports: {a: {type: generator, src: "::/0", dst: 10.0.0.0/8}}`, /different families/],
  [
    'a u32 that never matches',
    `${SMALLEST}steering: [{match: {u32: [{value: 0xff, mask: 0xf, at: 0}]}, action: {drop: true}}]`,
    /0xff has bits outside the mask 0xf.*use 0xf$/,
  ],
  [
    'an odd offset',
    `${SMALLEST}steering: [{match: {u32: [{value: 1, at: 3}]}, action: {drop: true}}]`,
    /at: 3 is not a multiple of 4/,
  ],
  ['a mirror of itself', `${SMALLEST}switch: {mirrors: [{from: in, to: in}]}`, /to: "in" is the port that is copied/],
  [
    'one file twice',
    SMALLEST.replace('out.pcapng', './in.pcap'),
    /ports.out.write: ".*in.pcap" is what ports.in.path replays/,
  ],
  ['an address', `${SMALLEST}metrics: {listen: 99999}`, /metrics.listen: 99999 is not an address/],
])('refuses %s', (_, text, message) => {
  expect(errorsOf(text).join('\n')).toMatch(message);
});

test('metrics listen on the loopback unless a host is named', () => {
  const listen = (text: string): unknown =>
    parseConfig(`${SMALLEST}metrics: {listen: ${text}}`, { file: 't.yaml' }).metrics;
  expect(listen('9464')).toEqual({ host: '127.0.0.1', port: 9464 });
  expect(listen('":9464"')).toEqual({ host: '127.0.0.1', port: 9464 });
  expect(listen('0.0.0.0:80')).toEqual({ host: '0.0.0.0', port: 80 });
  expect(listen('"[::1]:80"')).toEqual({ host: '::1', port: 80 });
});

test('--set takes file names as they stand, other values as YAML, paths from the current directory', () => {
  const set = ['ports.in.path=a: #1.pcap', 'ports.in.vlan.trunk=[3, 4]', 'ports.in.fault.loss=1%', 'lcores=3'];
  const config = parseConfig(SMALLEST, { file: '/etc/t.yaml', set });
  expect(config.lcores).toHaveLength(3);
  expect(config.ports[0]).toMatchObject({
    path: resolve('a: #1.pcap'),
    vlan: { trunk: [3, 4] },
    fault: { loss: 0.01 },
  });
  expect(errorsOf(SMALLEST, ['ports.in.pth=x'])).toEqual([
    '--set ports.in.pth: is not a key of a capture port; did you mean "path"?',
  ]);
  expect(errorsOf(SMALLEST, ['nonsense', '__proto__.x=1', 'steering.0.action=1', 'version.x=1'])).toEqual([
    expect.stringContaining('"nonsense": is not path=value'),
    expect.stringContaining('"__proto__.x=1": is not path=value'),
    expect.stringContaining('--set version.x version: is 1 and has no "x"'),
    expect.stringContaining('--set steering[0].action steering'),
  ]);
});

test('an override of an aliased port leaves the other alone', () => {
  const text = 'version: 1\nports:\n  a: &a {type: capture, path: x}\n  b: *a\n';
  const { ports } = parseConfig(text, { file: '/t.yaml', set: ['ports.b.path=/y'] });
  expect(ports).toMatchObject([{ path: '/x' }, { path: '/y' }]);
});

test('a port keeps its meaning when it is parsed again', () => {
  for (const file of ['examples/edge.yaml', 'examples/replay.yaml']) {
    for (const { name, ...port } of loadConfig(file).ports) {
      expect(parsePort(name, JSON.parse(JSON.stringify(port)), { directory: '/' })).toEqual({ name, ...port });
    }
  }
});

/** The XDP program of port `in`, given in YAML. */
function xdpOf(yaml: string, set: string[] = []): unknown {
  return parseConfig(`version: 1\nports:\n  in: { type: generator, ${yaml} }\n`, { file: 'dir/t.yaml', set }).ports[0]
    ?.xdp;
}

test('an XDP program is a path, or a mapping with defaults', () => {
  const defaults = { maps: {}, attach: 'ringway', trusted: false };
  expect(xdpOf('limit: 5')).toBeUndefined();
  expect(xdpOf('xdp: a.o')).toEqual({ ...defaults, object: resolve('dir/a.o') });
  expect(xdpOf('xdp: { object: /a/b.o }')).toEqual({ ...defaults, object: '/a/b.o' });
  expect(
    xdpOf(
      'xdp: { object: ../a.o, program: main, trusted: true, maps: { hosts: { 10.0.0.0/8: 1, 7: { a: [1, 2] } } } }',
    ),
  ).toEqual({
    object: resolve('a.o'),
    program: 'main',
    attach: 'ringway',
    trusted: true,
    maps: { hosts: { '10.0.0.0/8': 1, 7: { a: [1, 2] } } },
  });
});

test('paths of XDP programs start where they were said: in the file, or in an override', () => {
  const object = (yaml: string, ...set: string[]): unknown => (xdpOf(yaml, set) as { object: string }).object;
  expect(object('xdp: a.o', 'ports.in.xdp=b.o')).toBe(resolve('b.o'));
  expect(object('xdp: { object: a.o }', 'ports.in.xdp=b.o')).toBe(resolve('b.o'));
  expect(object('xdp: { object: a.o }', 'ports.in.xdp.object=b.o')).toBe(resolve('b.o'));
  expect(object('limit: 5', 'ports.in.xdp.object=b.o')).toBe(resolve('b.o'));
  expect(object('xdp: { object: a.o }', 'ports.in.xdp.program=main')).toBe(resolve('dir/a.o'));
  // Taken as it stands, whatever YAML would make of it.
  expect(object('limit: 5', 'ports.in.xdp=a #1.o')).toBe(resolve('a #1.o'));
  expect(parsePortArguments('in', ['type=null', 'xdp=a.o']).xdp).toMatchObject({ object: resolve('a.o') });
  expect(parseXdp('a.o', { directory: '/there' })).toMatchObject({ object: '/there/a.o' });
  expect(parseXdp({ object: 'a.o', program: 'p' }, { directory: '/there' })).toEqual({
    object: '/there/a.o',
    program: 'p',
    maps: {},
    attach: 'ringway',
    trusted: false,
  });
});

test.each([
  ['5', 'ports.in.xdp: 5 is no XDP program; use the path of an object file, or {object, program, maps}'],
  ['""', 'ports.in.xdp: "" is no XDP program'],
  ['[a.o]', 'is no XDP program'],
  ['null', 'ports.in.xdp: nothing is no XDP program'],
  ['{ object: 5 }', 'ports.in.xdp.object: 5 is not a path'],
  ['{ program: main }', 'ports.in.xdp.object: is missing'],
  ['{ object: a.o, prog: main }', 'ports.in.xdp.prog: is not a key of an XDP program; known: object, program'],
  ['{ object: a.o, trustd: true }', 'ports.in.xdp.trustd: is not a key of an XDP program; did you mean "trusted"?'],
  ['{ object: a.o, attach: kernel }', 'ports.in.xdp.attach: kernel is for af-xdp ports, and in is a generator port'],
  ['{ object: a.o, attach: driver }', 'ports.in.xdp.attach: "driver" is not a place'],
  ['{ object: a.o, trusted: maybe }', 'ports.in.xdp.trusted: "maybe" is not true or false'],
  ['{ object: a.o, program: 7 }', 'ports.in.xdp.program: 7 is not a program'],
  ['{ object: a.o, maps: 4 }', 'ports.in.xdp.maps: 4 is no set of maps'],
  ['{ object: a.o, maps: { denied: [1] } }', 'ports.in.xdp.maps.denied: '],
])('an XDP program of %s is refused with the place', (yaml, message) => {
  const errors = errorsOf(`version: 1\nports:\n  in: { type: generator, xdp: ${yaml} }\n`);
  expect(errors.join('\n')).toContain(message);
  for (const error of errors) expect(error).toMatch(/^dir\/t\.yaml:3:\d+ ports\.in\.xdp/);
});

test('what an XDP program is given in an override is refused with the override', () => {
  const text = 'version: 1\nports:\n  in: { type: generator, xdp: a.o }\n';
  expect(errorsOf(text, ['ports.in.xdp.object=b.o'])).toEqual([
    '--set ports.in.xdp.object ports.in.xdp: is "a.o" and has no "object"; set the whole value instead',
  ]);
  expect(errorsOf(text, ['ports.in.xdp='])[0]).toMatch(/^--set ports\.in\.xdp: "" is no XDP program/);
  expect(() => parseXdp({ object: 'a.o', maps: 1 }, { directory: '/' })).toThrow(/^xdp\.maps: 1 is no set of maps/);
});
