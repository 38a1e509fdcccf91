import { test } from 'vitest';
import { BASES } from '../support/arena.ts';
import { checkHostile, checkSegments } from './support/offload-properties.ts';
import { OffloadRig } from './support/offload-rig.ts';

test.each(BASES)('5,000 frames become the segments of the reference (base %i)', (base) => {
  checkSegments(new OffloadRig(256, base), 5000);
});

test('50,000 hostile requests stay within their buffers', () => {
  checkHostile(new OffloadRig(128), 50_000);
});
