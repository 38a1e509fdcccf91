import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { addXdp } from '#build/cli/xdp.js';
import { CommandLine, type Result } from '../support/command.ts';

const command = new CommandLine();
const ringway = (...args: string[]): Promise<Result> => command.call(addXdp, 'xdp', 'test', ...args);
const at = (name: string): string => join(command.runtime, name);
const good = resolve('examples/xdp/drop-list.test.yaml');
const bad = at('bad.yaml');
const head = `object: drop-list.o\ntests:\n`;
const packet = '{ in: 02 00 00 00 00 02 02 00 00 00 00 01 88 b5, action: ';

beforeAll(() => {
  copyFileSync('examples/xdp/drop-list.o', at('drop-list.o'));
  writeFileSync(
    bad,
    `${head}  - { name: "a <b> #c\\u001b", packets: [${packet}DROP }] }\n  - { name: d, packets: [${packet}PASS }] }\n`,
  );
});

test('the test in docs/xdp-testing.md passes', async () => {
  const [, text = ''] = /^```yaml\n(object: [\s\S]*?)^```$/m.exec(readFileSync('docs/xdp-testing.md', 'utf8')) ?? [];
  writeFileSync(at('docs.yaml'), text);
  expect(await ringway(at('docs.yaml'))).toMatchObject({
    code: 0,
    out: expect.stringContaining('1 test, 1 packet: all passed'),
  });
});

test('tests that pass, for people', async () => {
  const { code, out, err } = await ringway(good);
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^.*drop-list\.test\.yaml\n( {2}ok {4}.*\n){3,}\d+ tests, \d+ packets: all passed\n$/);
});

test('tests that fail, in each format, with exit code 1 and nothing that a terminal would obey', async () => {
  const place = `${bad}:3:90 tests[0].packets[0].action`;
  expect(await ringway(bad)).toEqual({
    code: 1,
    out: `${bad}
  FAIL  a <b> #c.
        ${place}: expected DROP, got PASS
  ok    d
2 tests, 2 packets: 1 failed
`,
    err: '',
  });
  expect((await ringway(bad, '--reporter', 'tap')).out).toBe(`TAP version 14
not ok 1 - ${bad}: a <b> \\#c.
  ---
  message: |
    ${place}: expected DROP, got PASS
  ...
ok 2 - ${bad}: d
1..2
`);
  expect((await ringway(bad, '--reporter', 'junit')).out).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="1">
  <testsuite name="${bad}" tests="2" failures="1">
    <testcase name="a &lt;b&gt; #c." classname="${bad}">
      <failure message="expected DROP, got PASS">${place}: expected DROP, got PASS</failure>
    </testcase>
    <testcase name="d" classname="${bad}"/>
  </testsuite>
</testsuites>
`);
});

test('several files are one run, in both engines', async () => {
  for (const engine of ['jit', 'interpreter']) {
    const { code, out } = await ringway(good, bad, '--reporter', 'tap', '--engine', engine);
    expect(code).toBe(1);
    expect(out.match(/^ok/gm)?.length).toBeGreaterThan(3);
    expect(out.match(/^not ok/gm)?.length).toBe(1);
  }
});

test('a spec that is none is wrong usage', async () => {
  expect(await ringway(at('none.yaml'))).toMatchObject({
    code: 2,
    err: `${at('none.yaml')}: there is no such file; check the path\n`,
  });
  expect(await ringway(good, '--reporter', 'xml')).toMatchObject({
    code: 2,
    err: expect.stringContaining('use readable, tap, junit'),
  });
  expect((await ringway(at('drop-list.o'))).code).toBe(2);
});

test('with --watch tests run again when a file has changed, also after one that was broken', async () => {
  const spec = at('watched.yaml');
  writeFileSync(spec, readFileSync(bad));
  const child = command.start(['xdp', 'test', spec, '--watch']);
  const finished = command.finish(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      said += chunk;
    });
  }
  const until = async (text: string): Promise<void> => {
    await vi.waitFor(() => expect(said).toContain(text), { timeout: 20_000 });
    said = '';
  };
  await until('2 tests, 2 packets: 1 failed');
  writeFileSync(spec, 'object: [');
  await until('is not YAML');
  writeFileSync(spec, readFileSync(bad, 'utf8').replace('DROP', 'PASS'));
  await until('all passed');
  child.kill('SIGINT');
  await finished;
});
