import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { loadConfig, parseConfig } from '#build/config/index.js';
import { effort } from '../support/effort.ts';

const edge = readFileSync('examples/edge.yaml', 'utf8');

/** Parses `text`; a refusal must be a RingwayError whose lines all have a place. */
function parseSafely(text: string, set: string[] = []): unknown {
  try {
    return parseConfig(text, { file: 'f.yaml', set });
  } catch (error) {
    expect(error, String((error as Error).stack)).toMatchObject({ name: 'RingwayError', code: 'BAD_CONFIG' });
    for (const line of (error as Error).message.split('\n')) {
      expect(line).toMatch(/^(f\.yaml|--set |and \d+ more errors)/);
    }
    return undefined;
  }
}

test('a mutated configuration is parsed or refused with places, and never crashes', () => {
  const mutation = fc.record({
    at: fc.nat({ max: edge.length }),
    cut: fc.oneof(fc.constant(0), fc.nat({ max: 40 })),
    insert: fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constantFrom(
        '\n',
        '  ',
        ': ',
        '- ',
        '{',
        '}',
        '[',
        ']',
        '&a ',
        '*a',
        '"',
        "'",
        '#',
        '!!int ',
        '|',
        '__proto__: 1\n',
        'null',
        '-1',
        '1e99',
        '.nan',
        '\t',
        '<<: *a',
      ),
    ),
  });
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (mutations) => {
      let text = edge;
      for (const { at, cut, insert } of mutations) text = text.slice(0, at) + insert + text.slice(at + cut);
      parseSafely(text);
    }),
    { numRuns: effort(40, 400) },
  );
});

test('any value at any place is parsed or refused', () => {
  const paths = [
    'name',
    'lcores',
    'memory',
    'seed',
    'ports',
    'ports.load',
    'ports.load.flows',
    'ports.load.size',
    'ports.load.vlan',
    'ports.load.src',
    'ports.replay.speed',
    'ports.replay.path',
    'ports.replay.fault',
    'ports.replay.fault.delay',
    'ports.red.type',
    'switch',
    'switch.static',
    'switch.static.0.mac',
    'switch.routes',
    'steering',
    'steering.0',
    'steering.0.match',
    'steering.0.match.u32',
    'steering.0.action',
    'metrics',
    'metrics.listen',
  ];
  fc.assert(
    fc.property(fc.constantFrom(...paths), fc.json({ maxDepth: 3 }), (path, value) => {
      parseSafely(edge, [`${path}=${value}`]);
    }),
    { numRuns: effort(60, 600) },
  );
});

test.each([
  ['brackets', '['.repeat(300_000), /nested more than 64 deep/],
  ['closed brackets', '['.repeat(300_000) + ']'.repeat(300_000), /nested more than 64 deep/],
  ['closing brackets', ']'.repeat(300_000), /close nothing/],
  ['dashes', '- '.repeat(300_000), /indented more than 512/],
  ['indentation', Array.from({ length: 1000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'), /indented more/],
  ['nested mappings', Array.from({ length: 100 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'), /64 deep/],
  ['a large text', '# x\n'.repeat(300_000), /larger than 1048576 bytes/],
  [
    'an alias bomb',
    `a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n${Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(10)}]`).join('\n')}`,
    /more than 200000 values/,
  ],
  ['an alias of itself', 'ports: &a {x: *a}', /alias \*a has no anchor/],
  [
    'hostile keys',
    '__proto__: {x: 1}\nconstructor: 1\nports: {__proto__: {type: null}, toString: {type: null}}',
    /"__proto__" cannot be a key here/,
  ],
  ['two documents', 'version: 1\n---\nversion: 1', /is not YAML/],
  ['no YAML', 'a: b: c', /f.yaml:1:4: is not YAML/],
])('refuses %s quickly', (_, text, message) => {
  const start = performance.now();
  expect(() => parseConfig(text, { file: 'f.yaml' })).toThrow(message);
  expect(performance.now() - start).toBeLessThan(3000);
  expect(Object.hasOwn(Object.prototype, 'x')).toBe(false);
});

test('many keys are no reason to wait', () => {
  const text = Array.from({ length: effort(10_000, 90_000) }, (_, index) => `k${index}: 1`).join('\n');
  expect(() => parseConfig(text, { file: 'f.yaml' })).toThrow(/and \d+ more errors; fix these first/);
});

test('a key cannot forge a line of its own', () => {
  const text = 'version: 1\nports: {a: {type: null}}\n"x\\nf.yaml:1:1 ports: y": 1';
  expect(() => parseConfig(text, { file: 'f.yaml' })).toThrow(/^f\.yaml:3:1 "x\\nf\.yaml:1:1 ports: y": is not a key/);
});

test('files that are no configuration are refused by name', () => {
  const directory = mkdtempSync(join(tmpdir(), 'ringway-'));
  const binary = join(directory, 'binary.yaml');
  writeFileSync(binary, Buffer.from([0xff, 0xfe, 0x00]));
  expect(() => loadConfig(join(directory, 'none.yaml'))).toThrow(/none.yaml: there is no such file/);
  expect(() => loadConfig(directory)).toThrow(/is a directory/);
  expect(() => loadConfig(binary)).toThrow(/binary.yaml: is not UTF-8/);
  expect(() => loadConfig('/dev/zero')).toThrow(/larger than 1048576 bytes/);
});
