import { expect, test } from 'vitest';
import { connect, disconnect, exchange } from './support/exchange.ts';
import { MODES } from './support/rig.ts';
import { frameOf, makeVif, type Served } from './support/vif-rig.ts';

const path = { kind: 'persistent' } as const;

test.each(MODES)(
  '%s: grants that are kept are mapped once, and packets of all sizes get through whole',
  async (mode) => {
    const rig = await makeVif({ mode, path, queues: { front: 2, back: 2 } });
    await connect(rig);
    exchange(rig, 1, 80);
    const before = rig.driver.costs();
    exchange(rig, 2, 20);
    const { copies, maps, unmaps } = rig.driver.costs();
    expect([copies - before.copies, maps - before.maps, unmaps]).toEqual([0, 0, 0]);
    // All slots that were used; a frontend takes again what came back last.
    expect(maps).toBeGreaterThan(2 * (2 + 64));
    expect(maps).toBeLessThanOrEqual(2 * 2 * (1 + 256));
    await disconnect(rig);
  },
);

test.each([
  ['an old backend', { path, paths: [] }],
  ['an old frontend', { paths: ['persistent'] }],
] as const)('%s is served by copies', async (_, options) => {
  const rig = await makeVif({ mode: 'plain', ...options });
  await connect(rig);
  exchange(rig, 1, 10);
  expect(rig.driver.costs().maps).toBe(2);
  await disconnect(rig);
});

test('a frontend that names ever new references is left to copies', async () => {
  const rig = await makeVif({ mode: 'plain', path });
  await connect(rig);
  const { guest, driver, arena, burst } = rig;
  const [front, back] = [rig.netfront.queues[0], rig.netback.queues[0]] as [Served, Served];
  const sring = arena.u32[front.tx.address >>> 2] ?? 0;
  const page = guest.allocPages(1);
  const refs = Array.from({ length: 400 }, () => guest.grants.grant(0, page, { readonly: true }));
  for (const [i, ref] of refs.entries()) {
    rig.make([frameOf(i, 60)]);
    const at = arena.u32[sring >>> 2] ?? 0;
    expect(front.send(burst, 1)).toBe(1);
    arena.u32[(sring + 64 + (at & 255) * 12) >>> 2] = ref;
    expect(rig.receive(back).length).toBe(1);
    rig.receive(front);
  }
  expect(driver.costs().maps).toBe(2 + 256);
  // What it takes back while it is mapped stays granted, and what is mapped stays what it was.
  expect(guest.grants.end(refs[0] ?? 0)).toBe(false);
  expect(guest.grants.end(refs[399] ?? 0)).toBe(true);
  for (const ref of refs.slice(0, -1)) guest.grants.end(ref);
  await rig.netfront.close();
});
