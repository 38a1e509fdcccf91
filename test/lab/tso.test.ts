import { expect, test } from 'vitest';
import { TsoBench } from '#build/lab/tso-bench.js';

test('a turn cuts a whole packet, and keeps as many segments as it says', () => {
  const bench = new TsoBench();
  bench.load(3, { payload: 45 * 1448, size: 1448 });
  bench.ask(3);
  const held = bench.pool.audit().inFlight;
  for (let turn = 0; turn < 10; turn++) expect(bench.cut(3, 0)).toBe(45);
  expect(bench.pool.audit().inFlight).toBe(held);
  for (let turn = 0; turn < 20; turn++) expect(bench.cut(3, 500)).toBe(45);
  expect(bench.pool.audit().inFlight - held).toBeGreaterThan(500 - 32);
  expect(bench.pool.audit().inFlight - held).toBeLessThanOrEqual(500);
});

test('a turn computes checksums as often as they are asked for', () => {
  const bench = new TsoBench();
  bench.load(32, { payload: 1448, size: 0 });
  for (let turn = 0; turn < 3; turn++) {
    bench.ask(32);
    expect(bench.finish(32)).toBe(32);
  }
  bench.load(1, { payload: 45 * 1448, size: 1448 });
  bench.ask(1);
  expect(bench.finish(1)).toBe(0);
});
