import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Histogram } from '#build/telemetry/histogram.js';

test('quantiles are those of the sorted values, to within a step', () => {
  const value = fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 1_000_000 }), fc.nat({ max: 2 ** 32 - 1 }));
  fc.assert(
    fc.property(fc.array(value, { minLength: 1 }), fc.constantFrom(0.5, 0.9, 0.99, 0.999, 1), (values, fraction) => {
      const histogram = new Histogram();
      for (const each of values) histogram.record(each);
      const sorted = [...values].sort((a, b) => a - b);
      const exact = sorted[Math.ceil(values.length * fraction) - 1] ?? 0;
      const got = histogram.quantile(fraction);
      expect(got).toBeGreaterThanOrEqual(exact);
      expect(got).toBeLessThanOrEqual(exact < 32 ? exact : exact * (1 + 1 / 32));
      expect(histogram.count).toBe(values.length);
    }),
  );
});

test('what is out of range counts as the nearest end, and nothing is 0', () => {
  const histogram = new Histogram();
  expect(histogram.quantile(0.5)).toBe(0);
  histogram.record(-5);
  histogram.record(1e12);
  expect([histogram.quantile(0.5), histogram.quantile(1)]).toEqual([0, 2 ** 32 - 1]);
});
