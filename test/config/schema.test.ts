import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { describePath, parseSetting, settablePaths } from '#build/config/index.js';

interface Schema {
  readonly description?: string;
  readonly properties?: Record<string, Schema>;
  readonly [key: string]: unknown;
}

const schema: Schema = JSON.parse(readFileSync(fileURLToPath(import.meta.resolve('ringway/schema.json')), 'utf8'));
const documentation = readFileSync('docs/configuration.md', 'utf8');

/** Every property anywhere in `part`, with its name. */
function properties(part: unknown): [string, Schema][] {
  if (Array.isArray(part)) return part.flatMap(properties);
  if (typeof part !== 'object' || part === null) return [];
  const own = Object.entries((part as Schema).properties ?? {});
  return [...own, ...Object.values(part).flatMap(properties)];
}

test('editors get a description for every key, and the documentation has it', () => {
  const found = properties(schema);
  expect(found.length).toBeGreaterThan(60);
  for (const [key, { description }] of found) {
    if (key !== 'type') expect(description, key).toBeTypeOf('string');
    expect(documentation, key).toMatch(new RegExp(`[\`{ ]${key}[\`},:]`));
  }
});

test('the schema refuses unknown keys as we do', () => {
  expect(schema).toMatchObject({ type: 'object', additionalProperties: false, required: ['version', 'ports'] });
});

test('what can be set while running is read with the same rules', () => {
  expect(settablePaths.map(({ pattern }) => pattern)).toContain('ports.NAME.fault.delay');
  expect(describePath('ports.in.rate')?.description).toContain('packets per second');
  expect(describePath('ports.in.path')).toBeUndefined();
  expect(parseSetting('ports.in.rate', 'none')).toEqual({ key: 'rate', port: 'in', value: undefined });
  expect(parseSetting('ports.in.learn', 'false')).toEqual({ key: 'learn', port: 'in', value: false });
  expect(parseSetting('ports.in.fault.delay', '10ms')).toEqual({ key: 'fault', port: 'in', value: { delay: 0.01 } });
  expect(parseSetting('switch.ageing', '5m')).toEqual({ key: 'ageing', value: 300 });
  expect(parseSetting('switch.reserved', 'forward')).toEqual({ key: 'reserved', value: 'forward' });
  expect(() => parseSetting('ports.in.speed', 'quick')).toThrow('ports.in.speed: "quick" is not a speed; use recorded');
  expect(() => parseSetting('ports.in.path', 'x')).toThrow(
    '"ports.in.path" cannot be set while running; use one of ports.in.rate, ',
  );
  expect(() => parseSetting('ports.in.fault.los', 'x')).toThrow('did you mean "ports.in.fault.loss"?');
  expect(() => parseSetting('__proto__', 'x')).toThrow('cannot be set while running');
});
