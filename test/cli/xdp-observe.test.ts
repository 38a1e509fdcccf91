import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CaptureWriter } from 'ringway/packet';
import { beforeAll, expect, test } from 'vitest';
import { addXdp } from '#build/cli/xdp.js';
import { CommandLine, type Result } from '../support/command.ts';

const command = new CommandLine();
const ringway = (...args: string[]): Promise<Result> => command.call(addXdp, 'xdp', ...args);
const at = (name: string): string => join(command.runtime, name);
const spec = resolve('examples/xdp/drop-list.test.yaml');
const object = resolve('examples/xdp/drop-list.o');
const capture = at('in.pcap');

beforeAll(() => {
  const writer = new CaptureWriter(capture);
  for (let frame = 0; frame < 2; frame++) writer.write(new Uint8Array(60), { seconds: frame, nanoseconds: 0 });
  writer.close();
});

test('xdp cover of tests, as a table, for lcov and as a page', async () => {
  const { code, out, err } = await ringway('cover', spec, '--lcov', at('a.info'), '--html', at('a.html'));
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(
    /^FILE +LINES +BRANCHES +FUNCTIONS\nexamples\/xdp\/drop-list\.c +100\.0 % .*\n.*headers\.h .*\nall +100\.0 % /,
  );
  expect(readFileSync(at('a.info'), 'utf8')).toContain('SF:examples/xdp/drop-list.c\n');
  expect(readFileSync(at('a.html'), 'utf8')).toContain('<h1>Coverage of XDP programs</h1>');
});

test('xdp cover of a capture names the lines that never ran', async () => {
  const { code, out } = await ringway('cover', object, '--in', capture);
  expect(code).toBe(0);
  expect(out).toMatch(/drop-list\.c +\d+\.\d % +\d+\.\d % +100\.0 % +41-50, 61-66, 73\n/);
});

test('xdp profile of a capture: instructions by line, stacks, a flame graph', async () => {
  const flags = ['--map', 'denied={10.0.0.0/8: 0}', '--folded', at('a.folded'), '--svg', at('a.svg')];
  const { code, out, err } = await ringway('profile', object, '--in', capture, ...flags);
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^2 packets, \d+ instructions, [\d.]+ a packet\nINSTRUCTIONS +SHARE +TIME +SHARE +PLACE +LINE\n/);
  expect(out).toMatch(/^ +\d+ +[\d.]+ % +[\d.]+ µs +[\d.]+ % +examples\/xdp\/headers\.h:25 +\*value \+= 1;$/m);
  const folded = readFileSync(at('a.folded'), 'utf8');
  expect(folded).toMatch(/^xdp_drop_list;examples\/xdp\/headers\.h:25 \d+$/m);
  const instructions = [...folded.matchAll(/ (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  expect(out).toContain(`2 packets, ${instructions} instructions`);
  expect(readFileSync(at('a.svg'), 'utf8')).toMatch(/^<svg [^>]*viewBox/);
});

test('tests that fail are named, and the exit code says so', async () => {
  const text = readFileSync(spec, 'utf8').replace('object: ', 'object: ../../').replace('action: DROP', 'action: PASS');
  writeFileSync(at('bad.yaml'), text.replace('../../drop-list.o', object));
  for (const tool of ['cover', 'profile']) {
    const { code, out, err } = await command.run('xdp', tool, at('bad.yaml'));
    expect([code, err]).toEqual([
      1,
      `${at('bad.yaml')}: drops sources on the list, by longest prefix, and counts them: failed\n`,
    ]);
    expect(out).not.toBe('');
  }
});

test('what does not go together is wrong usage', async () => {
  expect(await ringway('cover', object, spec, '--in', capture)).toMatchObject({
    code: 2,
    err: expect.stringContaining('give one object'),
  });
  expect(await ringway('cover', spec, '--prog', 'a')).toMatchObject({
    code: 2,
    err: expect.stringContaining('go with --in'),
  });
  expect(await ringway('cover', spec, '--html', at('none/a.html'))).toMatchObject({
    code: 1,
    err: expect.stringContaining('cannot be written'),
  });
});
