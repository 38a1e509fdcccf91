import { expect, test } from 'vitest';
import { BurstProgram, shareProgram } from '#build/lab/burst-program.js';
import { NETTXF_STAGING_BUFFER } from '#build/xen/layout.js';
import { connect, disconnect, exchange, type VifRig } from './support/exchange.ts';
import { Load } from './support/load.ts';
import { MODES } from './support/rig.ts';
import { PATHS } from './support/vif-hostile.ts';
import { makeVif, type Served } from './support/vif-rig.ts';

/** Packets of each case; 10,000,000 is the whole of it. */
const PACKETS = Number(process.env.RINGWAY_PACKETS ?? 3000);

/** Sends frames back whose byte 13 is odd, and passes the others. */
const ODD_BACK = `
  ldxw %r2, [%r1+0]
  ldxw %r3, [%r1+4]
  mov %r4, %r2
  add %r4, 14
  mov %r0, 1
  jgt %r4, %r3, end
  ldxb %r5, [%r2+13]
  mov %r0, 2
  and %r5, 1
  jeq %r5, 0, end
  mov %r0, 3
end:
  exit`;

/** Whether a tx ring's slots still hold a request that names an rx staging buffer. */
function hasLent({ arena }: VifRig, { tx }: Served): boolean {
  const flags = ((arena.u32[tx.address >>> 2] ?? 0) + 64 + 6) >>> 1;
  return Array.from({ length: tx.slots }, (_, i) => arena.u16[flags + i * 6] ?? 0).some(
    (each) => (each & NETTXF_STAGING_BUFFER) !== 0,
  );
}

const both = [true, false];
const matrix = PATHS.flatMap((path) =>
  [1, 2].flatMap((queues) =>
    both.flatMap((sg) =>
      both.flatMap((gso) => both.map((xdp) => [JSON.stringify(path), queues, sg, gso, xdp, path] as const)),
    ),
  ),
);

test.each(matrix)(
  '%s, %i queues, scatter-gather %s, segments %s, a program %s: whole, both ways, in rings of one page and of four',
  async (_, queues, sg, gso, xdp, path) => {
    const rings = MODES.flatMap((mode) => [0, 2].map((ringOrder) => ({ mode, ringOrder })));
    for (const { mode, ringOrder } of rings) {
      const features = { sg, gsoTcpv4: gso, gsoTcpv6: gso };
      const rig = await makeVif({
        mode,
        path,
        ringOrder,
        queues: { front: queues, back: queues },
        front: features,
        back: features,
      });
      const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
      await connect(rig);
      const cache = rig.pool.caches[0] ?? 0;
      const program = xdp
        ? new BurstProgram(rig.arena, shareProgram(rig.arena, { name: 'odd', text: ODD_BACK, cache }))
        : undefined;
      const load = new Load(rig, {
        seed: queues,
        packets: Math.ceil(PACKETS / rings.length),
        most: sg ? 65_534 : 4096,
        // Segments need several pages.
        gso: gso && sg,
        program,
      });
      load.run();
      expect(load.arrived).toBeGreaterThan(0);
      expect(load.returned > 0).toBe(xdp);
      for (const queue of rig.netfront.queues) expect(hasLent(rig, queue)).toBe(xdp && path.kind === 'staging');
      await disconnect(rig);
      for (const stop of stops) stop();
    }
  },
  60_000 + PACKETS,
);

/** Each path against an end that has another one alone, or none. */
const others = PATHS.flatMap((path) =>
  (['staging', 'persistent', 'control', 'data-ring', 'none'] as const).map(
    (other) => [path.kind, other, path] as const,
  ),
);

test.each(others)('a frontend with %s works with a backend that has %s alone', async (_, other, path) => {
  const rig = await makeVif({ mode: 'plain', path, paths: other === 'none' ? [] : [other] });
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  await connect(rig);
  exchange(rig, 3, 60);
  await disconnect(rig);
  for (const stop of stops) stop();
});
