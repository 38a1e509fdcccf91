import { expect, test } from 'vitest';
import { runBenches } from '#dist/lab/bench.js';

test('every ring has its peer beside it', async () => {
  const rows = await runBenches(['ring'], { peers: true });
  expect(rows).toHaveLength(12);
  expect(rows.filter(({ peerValue, ratio }) => peerValue === null || ratio === null)).toEqual([]);
});
