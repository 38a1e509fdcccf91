import { join, resolve } from 'node:path';
import { buildFrame, CaptureWriter } from 'ringway/packet';
import { beforeAll, expect, test } from 'vitest';
import { CommandLine, type Result } from '../support/command.ts';

const command = new CommandLine();
const capture = join(command.runtime, 'in.pcap');
const object = resolve('examples/xdp/drop-list.o');

/** Runs the debugger with these lines as its input. */
function script(lines: readonly string[], ...flags: string[]): Promise<Result> {
  const child = command.start([
    'xdp',
    'step',
    object,
    '--in',
    capture,
    '--map',
    'denied={203.0.113.0/24: 7}',
    ...flags,
  ]);
  child.stdin?.end(lines.map((line) => `${line}\n`).join(''));
  return command.finish(child);
}

beforeAll(() => {
  const writer = new CaptureWriter(capture);
  for (const source of ['198.51.100.1', '203.0.113.1']) {
    const frame = buildFrame({
      ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
      ipv4: { source, destination: '192.0.2.1' },
      udp: { sourcePort: 1, destinationPort: 2 },
    });
    writer.write(frame, { seconds: 1, nanoseconds: 0 });
  }
  writer.close();
});

test('a script stops in a frame, looks around, and goes back', async () => {
  const lines = [
    'break 41',
    'continue',
    'list',
    'break 73',
    'c',
    'maps denied',
    'next',
    'maps denied',
    'rs',
    'm denied',
    'q',
    'bogus',
  ];
  const { code, out, err } = await script(lines, '--frame', '2');
  expect([code, err]).toEqual([0, '']);
  const denied = (hits: number): string => `map denied\n  {"prefixlen":24,"addr":"cb 00 71 00"}: ${hits}\n`;
  expect(out).toMatch(
    /^examples\/xdp\/drop-list\.c:54 in xdp_drop_list, instruction 1 of \d+\n {3}54 {2}int xdp_drop_list/,
  );
  expect(out).toContain('\n>   41  \tstruct prefix4 key = { .prefixlen = 32 };\n');
  expect(out.split(denied(7)).length - 1).toBe(2);
  expect(out.split(denied(8)).length - 1).toBe(1);
});

test('errors of a script are said, and its exit code tells', async () => {
  const { code, out, err } = await script(['bogus', 'continue']);
  expect([code, err]).toEqual([1, '"bogus" is no command; help lists them\n']);
  expect(out).toMatch(/the end, after \d+ instructions: PASS\n$/);
});

test('a frame that is not there is an error', async () => {
  expect(await script([], '--frame', '3')).toMatchObject({
    code: 1,
    err: expect.stringContaining('has no frame 3 that a'),
  });
  expect(await script([], '--frame', 'x')).toMatchObject({
    code: 2,
    err: expect.stringContaining('"x" is no number from 1'),
  });
});
