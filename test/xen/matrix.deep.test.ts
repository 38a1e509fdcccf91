import { test } from 'vitest';
import { connect, disconnect, exchange } from './support/exchange.ts';
import { MODES } from './support/rig.ts';
import { PATHS } from './support/vif-hostile.ts';
import { makeVif } from './support/vif-rig.ts';

const off = { sg: false, gsoTcpv4: false, gsoTcpv6: false };
const matrix = PATHS.flatMap((path) =>
  [1, 2].flatMap((queues) => [true, false].map((sg) => [path.kind, queues, sg, path] as const)),
);

test.each(matrix)(
  '%s, %i queues, scatter-gather %s: whole, both ways, in rings of one page and of four',
  async (_, queues, sg, path) => {
    for (const mode of MODES) {
      for (const ringOrder of [0, 2]) {
        const features = sg ? {} : off;
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
        exchange(rig, queues, 200, sg ? 65_534 : 4096);
        await disconnect(rig);
        for (const stop of stops) stop();
      }
    }
  },
);

/** Each path against an end that has another one alone, or none. */
const others = PATHS.flatMap((path) =>
  (['staging', 'persistent', 'control', 'none'] as const).map((other) => [path.kind, other, path] as const),
);

test.each(others)('a frontend with %s works with a backend that has %s alone', async (_, other, path) => {
  const rig = await makeVif({ mode: 'plain', path, paths: other === 'none' ? [] : [other] });
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  await connect(rig);
  exchange(rig, 3, 60);
  await disconnect(rig);
  for (const stop of stops) stop();
});
