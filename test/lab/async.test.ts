import { expect, test } from 'vitest';
import { costRows, linesOf } from '#build/lab/async-cost.js';
import { runVirtual, startEngines } from '#build/lab/async-virtual.js';
import { AsyncWorld } from '#build/lab/async-world.js';

const world = new AsyncWorld();

// That all packets arrive is asserted at the end of each run.
test.each([
  ['defer', 'lcore', 2, false],
  ['v3', 'dynamic-lcore', 4, true],
  ['v4', 'lcore', 1, false],
  ['vq', 'dynamic-lcore', 4, true],
] as const)(
  '%s by %s on %i lcores over two engines: lcores wait for locks: %s',
  async (way, assignment, lcores, waits) => {
    const one = { way, bytes: 2098, threshold: 0, spread: 'scatter', guests: 8, lcores } as const;
    const engines = await startEngines(world, 2, assignment, one);
    const { ns, waiting } = runVirtual(world, one, engines);
    expect(engines.devices.some((device) => device.stats(0).completed > 0)).toBe(true);
    await engines.close();
    expect(ns).toBeGreaterThan(0);
    expect(waiting > 0).toBe(waits);
  },
);

test('an lcore that copies needs no engine, and its queue goes on with one afterwards', async () => {
  const one = { bytes: 114, threshold: 0, spread: 'burst', guests: 2, lcores: 1 } as const;
  for (const [way, other] of [
    ['cpu', {}],
    ['v4', { spread: 'scatter', guests: 8 }],
    ['cpu', { bytes: 2098 }],
    ['defer', {}],
  ] as const) {
    const each = { ...one, ...other, way };
    const engines = await startEngines(world, 1, 'lcore', each);
    expect(runVirtual(world, each, way === 'cpu' ? undefined : engines).ns).toBeGreaterThan(0);
    await engines.close();
  }
  expect(world.arena.damaged()).toEqual([]);
});

test('lines of code are those of a class or of its methods, without comments', () => {
  const text = ['class A {', '    /** Says. */', '    say(x) {', '        // Why.', '        return x;', '    }', '}'];
  // As compiled, and as bundled.
  for (const indent of ['    ', '\t']) {
    const type = { toString: () => text.join('\n').replaceAll('    ', indent) };
    expect(linesOf(type)).toBe(5);
    expect(linesOf(type, ['say'])).toBe(3);
    expect(() => linesOf(type, ['ask'])).toThrow('no method ask to count');
  }
});

test('each integration has its memory, drop points and lines; only v4 drops', () => {
  const rows = costRows();
  expect(rows).toHaveLength(12);
  for (const { name, value } of rows) {
    if (name.includes('drop')) expect(value).toBe(name.includes('v4') ? 1 : 0);
    else expect(value).toBeGreaterThan(0);
  }
});
