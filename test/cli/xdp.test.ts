import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildFrame, CaptureWriter, readCapture } from 'ringway/packet';
import { beforeAll, expect, test } from 'vitest';
import { addXdp } from '#build/cli/xdp.js';
import { CommandLine, type Result } from '../support/command.ts';
import { writeObject } from '../xdp/support/object.ts';

const command = new CommandLine();
const ringway = (...args: string[]): Promise<Result> => command.call(addXdp, 'xdp', ...args);
const at = (name: string): string => join(command.runtime, name);
const example = (name: string): string => resolve(`examples/xdp/${name}.o`);
const capture = at('in.pcap');

function write(name: string, source: string, section = 'xdp'): string {
  writeFileSync(at(`${name}.o`), writeObject(name, source, { section }));
  return at(`${name}.o`);
}

const frame = (source: string): Uint8Array =>
  buildFrame({
    ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
    ipv4: { source, destination: '192.0.2.1' },
    udp: { sourcePort: 1, destinationPort: 2 },
    payload: new Uint8Array(18),
  });

/** What a command is refused with: its exit code and message. */
async function refused(...args: string[]): Promise<[number | null, string]> {
  const { code, out, err } = await command.call(addXdp, 'xdp', ...args);
  expect(out).toBe('');
  return [code, err];
}

beforeAll(() => {
  const writer = new CaptureWriter(capture);
  const sources = ['198.51.100.1', '203.0.113.1', '198.51.100.2', '203.0.113.2', '203.0.113.3'];
  for (const [index, source] of sources.entries()) writer.write(frame(source), { seconds: index, nanoseconds: 7 });
  // Too short for an Ethernet header.
  writer.write(new Uint8Array(10), { seconds: 9, nanoseconds: 0 });
  writer.close();
});

test('xdp run counts verdicts, shows maps, and writes what goes on with its times', async () => {
  const out = at('out.pcapng');
  const map = 'denied={203.0.113.0/24: 0}';
  expect(await command.run('xdp', 'run', example('drop-list'), '--in', capture, '--out', out, '--map', map)).toEqual({
    code: 0,
    out: `5 packets, 1 frame left out
  DROP     3
  PASS     2
map packets
  0: [2]
  1: [3]
map denied
  {"prefixlen":24,"addr":"cb 00 71 00"}: 3
`,
    err: '',
  });
  const left = [...readCapture(out)];
  expect(left.map(({ seconds, nanoseconds }) => [seconds, nanoseconds])).toEqual([
    [0, 7],
    [2, 7],
  ]);
  expect(Buffer.compare(left[1]?.frame ?? new Uint8Array(), frame('198.51.100.2'))).toBe(0);
});

test('xdp run as JSON, in both engines', async () => {
  for (const engine of ['jit', 'interpreter']) {
    const flags = ['--in', capture, '--json', '--engine', engine, '--map', 'denied={203.0.113.0/24: 5}'];
    const { code, out, err } = await ringway('run', example('drop-list'), ...flags);
    expect([code, err]).toEqual([0, '']);
    expect(JSON.parse(out)).toEqual({
      packets: 5,
      skipped: 1,
      actions: { ABORTED: 0, DROP: 3, PASS: 2, TX: 0, REDIRECT: 0 },
      faults: {},
      events: {},
      log: [],
      maps: {
        packets: [
          { key: 0, value: [2] },
          { key: 1, value: [3] },
        ],
        denied: [{ key: { prefixlen: 24, addr: 'cb 00 71 00' }, value: 8 }],
      },
    });
  }
});

test('xdp run says what a program was ended for and where', async () => {
  const wild = write('wild', 'mov %r1, 4096\nldxdw %r0, [%r1+0]\nexit');
  const { code, out } = await ringway('run', wild, '--in', capture);
  expect(code).toBe(0);
  expect(out).toBe(`5 packets, 1 frame left out
  ABORTED  5
  5 aborted: reaches memory that is not in its packet, stack or maps, at wild, instruction 1
`);
});

test('what a program says holds nothing that a terminal would obey', async () => {
  // "a\rb" on the stack: returns to the start of the line.
  const text = 'mov %r1, 0x620d61\nstxdw [%r10-8], %r1\nmov %r1, %r10\nadd %r1, -8\nmov %r2, 5\ncall trace_printk\n';
  const { out } = await ringway('run', write('says', `${text}mov %r0, 2\nexit`), '--in', capture);
  expect(out).toContain('  said: a.b\n');
});

test('xdp run refuses with the place what is no program, map or capture', async () => {
  const bad = at('bad.o');
  writeFileSync(bad, readFileSync(example('drop-list')).subarray(0, 3000));
  expect(await refused('run', bad, '--in', capture)).toEqual([1, expect.stringContaining(`ringway: ${bad}`)]);
  expect(await refused('run', at('none.o'), '--in', capture)).toEqual([
    1,
    expect.stringMatching(/^ringway: .*none\.o: cannot be read: ENOENT/),
  ]);
  const call = write('calls', 'mov %r1, 0\ncall 26\nexit');
  expect(await refused('run', call, '--in', capture)).toEqual([
    1,
    expect.stringMatching(/skb_load_bytes.*instruction 1/),
  ]);
  expect(await refused('run', example('vlan'), '--in', capture)).toEqual([
    1,
    expect.stringContaining('2 XDP programs: xdp_vlan_push, xdp_vlan_pop; name one'),
  ]);
  expect(await refused('run', example('vlan'), '--in', capture, '--prog', 'nope')).toEqual([
    1,
    expect.stringMatching(/no program "nope"; there are: xdp_vlan_p/),
  ]);
  const list = example('drop-list');
  expect(await refused('run', list, '--in', at('none.pcap'))).toEqual([1, expect.stringContaining('none.pcap')]);
  expect(await refused('run', list, '--in', list)).toEqual([1, expect.stringContaining('drop-list.o')]);
  expect(await refused('run', list, '--in', capture, '--engine', 'fast')).toEqual([
    2,
    expect.stringContaining('--engine: "fast"'),
  ]);
  for (const map of ['constructor={}', 'denid={}', 'denied']) {
    expect(await refused('run', list, '--in', capture, '--map', map)).toEqual([
      2,
      expect.stringMatching(/--map .*no map/),
    ]);
  }
  expect(await refused('run', list, '--in', capture, '--map', 'denied=5')).toEqual([
    2,
    expect.stringContaining('is no mapping; use one such as denied={1: 2}'),
  ]);
  expect(await refused('run', list, '--in', capture, '--map', 'denied={203.0.113.0: 0}')).toEqual([
    2,
    expect.stringMatching(/map denied: key: "203\.0\.113\.0" is not of 8 bytes/),
  ]);
  expect(await command.run('xdp', 'run', list)).toMatchObject({
    code: 2,
    err: expect.stringContaining("required option '--in <capture>'"),
  });
});

test('xdp diff names the frames, and exits with 1 when there are any', async () => {
  const pass = write('pass', 'mov %r0, 2\nexit');
  const touch = write(
    'touch',
    'ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\nmov %r0, 2\njgt %r4, %r3, +1\nstb [%r2+0], 66\nexit',
  );
  // Drops what has an odd last byte of the source address, at 29.
  const odd = write(
    'odd',
    'ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 34\nmov %r0, 2\njgt %r4, %r3, +3\nldxb %r5, [%r2+29]\njset %r5, 1, +1\nja +1\nmov %r0, 1\nexit',
  );
  expect(await ringway('diff', pass, pass, '--in', capture)).toEqual({ code: 0, out: 'no difference\n', err: '' });
  expect(await ringway('diff', pass, odd, '--in', capture)).toEqual({
    code: 1,
    out: 'frame 1: PASS -> DROP\nframe 2: PASS -> DROP\nframe 5: PASS -> DROP\n3 frames differ: 3 in action or target, 0 in bytes, 0 in maps\n',
    err: '',
  });
  const bytes = (await ringway('diff', pass, touch, '--in', capture)).out;
  expect(bytes).toContain(
    'frame 5: PASS\n    1 byte differs, the first at offset 0\n    old 60 bytes: 203.0.113.3:1 > 192.0.2.1:2 ',
  );
  expect(bytes).toContain('\n    0000  old 02 00 00');
  expect(bytes).toContain('\n5 frames differ: 0 in action or target, 5 in bytes, 0 in maps\n');
  expect(await ringway('diff', pass, at('none.o'), '--in', capture)).toMatchObject({ code: 1, out: '' });
});

test('xdp diff says which entries of maps differ since which frame, and which maps cannot', async () => {
  const list = example('drop-list');
  const map = ['--map', 'denied={203.0.113.0/24: 0}'];
  expect(await ringway('diff', list, list, '--in', capture, ...map)).toEqual({
    code: 0,
    out: 'no difference\n',
    err: '',
  });
  // What is no IP counts in one of them, and not in the other.
  const other = at('other.pcap');
  const writer = new CaptureWriter(other);
  writer.write(new Uint8Array(60), { seconds: 0, nanoseconds: 0 });
  writer.close();
  const { code, out } = await ringway('diff', list, example('rate-limit'), '--in', other);
  expect(code).toBe(1);
  expect(out).toMatch(
    /^map denied is only in .*drop-list\.o\n(map .*\n){3}frame 1: PASS\n {4}packets\[0\]: \[1\] -> \[0\]\n/,
  );
  expect(out).toMatch(/\n1 frame differs: 0 in action or target, 0 in bytes, 1 in maps\n$/);
});

test('xdp disasm prints instructions with their source lines', async () => {
  const { code, out, err } = await ringway('disasm', example('drop-list'));
  expect([code, err]).toEqual([0, '']);
  expect(out).toContain('xdp_drop_list:');
  expect(out).toMatch(/^; .*drop-list\.c:\d+: .*HEADER\(ctx, 0, struct ethhdr\)/m);
  expect(out).toContain('map_lookup_elem');
  const both = (await ringway('disasm', example('vlan'))).out;
  const one = (await ringway('disasm', example('vlan'), '--prog', 'xdp_vlan_pop')).out;
  expect(both).toContain('xdp_vlan_push:');
  expect(both).toContain(one.trimEnd());
  expect(one).not.toContain('xdp_vlan_push:');
});

test('xdp disasm of what is not there or is no object is an error, not a stack trace', async () => {
  for (const args of [[at('none.o')], ['package.json'], [example('vlan'), '--prog', 'nope'], [command.runtime]]) {
    expect(await refused('disasm', ...args)).toEqual([1, expect.stringMatching(/^ringway: [^\n]*\n$/)]);
  }
});

test('xdp verify accepts programs, one or all, and says what that took', async () => {
  const { code, out, err } = await ringway('verify', example('vlan'));
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^xdp_vlan_push: accepted \(\d+ instructions visited, \d+ states? kept, [\d.]+ ms\)$/m);
  expect(out).toMatch(/^xdp_vlan_pop: accepted/m);
  expect((await ringway('verify', example('vlan'), '--prog', 'xdp_vlan_pop')).out).not.toContain('xdp_vlan_push');
});

test('xdp verify says why a program is rejected, and logs what it knows', async () => {
  const wrong = write('wrong', 'ldxw %r2, [%r1]\nldxb %r0, [%r2]\nexit');
  const { code, out } = await ringway('verify', wrong, '--log');
  expect(code).toBe(1);
  expect(out).toContain(
    '     1: r0 = *(u8 *)(r2 + 0)    ; r1 = the context; r2 = packet data, no bytes from there on checked\n',
  );
  expect(out).toContain('why:     1 byte of the packet is read at offset 0, and nothing says that there are any.\n');
  expect(out).toContain('missing: Compare with data_end first: `if (data + 1 > data_end) return XDP_DROP;`.\n');
});

test('xdp verify of what is not there is an error, not a stack trace', async () => {
  for (const args of [[at('none.o')], ['package.json'], [example('vlan'), '--prog', 'nope']]) {
    expect(await refused('verify', ...args)).toEqual([1, expect.stringMatching(/^ringway: [^\n]*\n$/)]);
  }
});
