import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { CaptureWriter, describe } from 'ringway/packet';
import { expect, test } from 'vitest';
import { TickClock } from '#build/packet/capture-time.js';
import { testArena } from '../support/arena.ts';
import { halves } from './support/capture-files.ts';
import { hostileFrame } from './support/frames.ts';
import { headersOf, lastFrame } from './support/headers.ts';
import { scanAll } from './support/scan.ts';

const folder = join(resolve(dirname(fileURLToPath(import.meta.url)), '../..'), '../shared/captures');
if (!existsSync(folder)) console.warn(`packet.deep.test.ts damages only its own capture: there is no folder ${folder}`);

test('headers and flow of 200,000 hostile frames stay within them', () => {
  const arena = testArena(1 << 20);
  const last = lastFrame(arena);
  const key = arena.allocate('key', 40);
  fc.assert(
    fc.property(hostileFrame, (frame) => {
      last.put(frame);
      expect(last.headers()).toEqual(headersOf(frame));
      expect(last.flow()).toBeGreaterThan(0);
      last.toeplitz(key);
      describe(frame);
    }),
    { numRuns: 200_000 },
  );
});

test('ticks of every resolution, 500,000 times', () => {
  const ticks = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  const out = new Uint32Array(8);
  fc.assert(
    fc.property(fc.nat(40), fc.boolean(), ticks, (exponent, binary, value) => {
      const kept = binary ? Math.min(exponent, 32) : exponent;
      const perSecond = (binary ? 2n : 10n) ** BigInt(kept);
      new TickClock(kept + (binary ? 128 : 0), 0).store(...halves(value), out, 0);
      expect(BigInt(out[3] ?? 0)).toBe(BigInt.asUintN(32, value / perSecond));
      expect(BigInt(out[4] ?? 0)).toBe(((value % perSecond) * 1_000_000_000n) / perSecond);
    }),
    { numRuns: 500_000 },
  );
});

/** Small captures to damage: real ones where they are at hand, and one of our own. */
function captures(): Uint8Array[] {
  const own: Uint8Array[] = [];
  const writer = new CaptureWriter((bytes) => own.push(bytes.slice()), { format: 'pcapng', linkTypes: [1, 101] });
  for (let i = 0; i < 20; i++) writer.write(new Uint8Array(i * 13), { seconds: i, nanoseconds: i, interface: i % 2 });
  writer.close();
  const real = existsSync(folder) ? readdirSync(folder).filter((name) => /\.pcap(ng)?$/.test(name)) : [];
  const files = real.map((name) => new Uint8Array(readFileSync(join(folder, name))));
  return [Buffer.concat(own), ...files.filter(({ length }) => length < 20_000)];
}

test('captures damaged at random are read the same in windows of any size', () => {
  const damage = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { maxLength: 3 });
  fc.assert(
    fc.property(
      fc.constantFrom(...captures()),
      damage,
      fc.nat(20_000),
      fc.integer({ min: 1, max: 5000 }),
      (whole, changes, length, window) => {
        const file = whole.slice(0, length);
        for (const [at, value] of changes) if (at < file.length) file[at] = value;
        const once = scanAll(file);
        const parts = scanAll(file, window, 3);
        expect(parts.records).toEqual(once.records);
        expect(parts.linkTypes).toEqual(once.linkTypes);
        expect(parts.broken).toEqual(once.broken);
      },
    ),
    { numRuns: 20_000 },
  );
});
