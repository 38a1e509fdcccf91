import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RingwayError } from 'ringway/memory';
import { readCapture } from 'ringway/packet';
import { expect, test } from 'vitest';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const folder = join(root, '../shared/captures');
const here = existsSync(folder);
if (!here) console.warn(`captures.test.ts is skipped: there is no folder ${folder}`);

/** Files of a set of real and hostile captures that are kept beside the repository. */
const files = here ? readdirSync(folder).filter((name) => /\.pcap(ng)?$/.test(name)) : [];

test.skipIf(!here)(`real captures are read to their end or to a break that is named`, () => {
  let frames = 0;
  for (const name of files) {
    try {
      for (const { frame, nanoseconds } of readCapture(join(folder, name))) {
        expect(frame.length).toBeLessThanOrEqual(262_144);
        expect(nanoseconds).toBeLessThan(1e9);
        frames++;
      }
    } catch (error) {
      expect((error as RingwayError).code, `${name}: ${error}`).toBe('BAD_CAPTURE');
    }
  }
  expect(frames).toBeGreaterThan(files.length);
});
