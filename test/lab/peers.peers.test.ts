import { expect, test } from 'vitest';
import { runBenches } from '#build/lab/bench.js';

test('every replay has its peer beside it', async () => {
  const rows = await runBenches(['replay'], { peers: true });
  expect(rows).toHaveLength(10);
  expect(rows.filter(({ peerValue }) => peerValue === null)).toEqual([]);
});

test('every ring has its peer beside it', async () => {
  const rows = await runBenches(['ring'], { peers: true });
  expect(rows).toHaveLength(12);
  // On a machine that others use too, a peer may never have had its CPU; nothing else is an excuse.
  const alone = rows.filter(
    ({ peerValue, note }) => peerValue === null && !note.includes('other programs had the CPU'),
  );
  expect(alone).toEqual([]);
});
