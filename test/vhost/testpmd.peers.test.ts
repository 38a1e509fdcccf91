import { afterAll, afterEach, expect, test } from 'vitest';
import { problemsOf, start, startWithMachine } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms } from '../support/program.ts';
import { descriptors, mappings } from '../support/resources.ts';
import { startTestpmd, type TestpmdPort } from '../support/testpmd.ts';

const folder = testFolder();
afterEach(endPrograms);
afterAll(folder.rm);

const missing = missingPrograms('dpdk-testpmd');
if (missing.length > 0) console.warn(`testpmd.peers.test.ts is skipped: no ${missing.join(', ')}`);

/** Frames of each kind of ring; `RINGWAY_PACKETS` has another number. */
const PACKETS = Number(process.env.RINGWAY_PACKETS ?? 100_000);
const PACKETS_MS = 20_000 + PACKETS / 20;
/** Deaths of testpmd, as many as fit the time; all of them when `RINGWAY_CYCLES` says how many. */
const CYCLES = Number(process.env.RINGWAY_CYCLES ?? 100);
const CYCLES_MS = process.env.RINGWAY_CYCLES === undefined ? 15_000 : Number.POSITIVE_INFINITY;

/** Gives back all that comes. */
const echo = (port: Omit<TestpmdPort, 'kind'>, lifeMs: number) =>
  startTestpmd({
    name: 'echo',
    mode: 'io',
    lifeMs,
    extra: ['--port-topology=loop'],
    ports: [{ kind: 'virtio-user', queueSize: 256, mac: '02:00:00:00:09:02', ...port }],
  });

test.skipIf(missing.length > 0).each([
  { packed: false, inOrder: false, mrgRxbuf: false },
  { packed: false, inOrder: false, mrgRxbuf: true },
  { packed: false, inOrder: true, mrgRxbuf: true },
  { packed: true, inOrder: false, mrgRxbuf: false },
  { packed: true, inOrder: true, mrgRxbuf: false },
  { packed: true, inOrder: false, mrgRxbuf: true, server: true },
  { packed: true, inOrder: true, mrgRxbuf: true },
  { packed: false, inOrder: true, mrgRxbuf: true, async: { integration: 'defer' } },
  { packed: false, inOrder: false, mrgRxbuf: false, async: { integration: 'v3', assignment: 'vring', threshold: 0 } },
  { packed: true, inOrder: true, mrgRxbuf: true, async: { integration: 'v4', assignment: 'dynamic-vring' } },
  { packed: true, inOrder: false, mrgRxbuf: true, async: { integration: 'vq', assignment: 'dynamic-lcore' } },
])(
  'testpmd gets every frame and gives it back: %o',
  async ({ async, ...options }) => {
    const socket = folder.path(`${Object.values(options).map(Number).join('')}${async?.integration ?? ''}.sock`);
    const echoing = options.server ? echo({ socket, ...options }, PACKETS_MS) : undefined;
    const dataplane = await start({
      version: 1,
      name: 'testpmd',
      lcores: [{ idle: 'yield' }],
      ...(async === undefined ? {} : { async }),
      ports: {
        pmd: { type: 'vhost-user', socket, mode: options.server ? 'client' : 'server', learn: false },
      },
    });
    const testpmd = await (echoing ?? echo({ socket, ...options }, PACKETS_MS));
    // From now on nothing is lost.
    await dataplane.addPort('own', {
      type: 'module',
      module: new URL('../support/numbered-port.mjs', import.meta.url).href,
      options: { limit: PACKETS },
      learn: false,
    });
    const port = (name: string) => dataplane.snapshot().ports.find((each) => each.name === name);
    await expect.poll(() => port('own')?.txPackets, { timeout: PACKETS_MS, interval: 100 }).toBe(PACKETS);
    expect(port('pmd')).toMatchObject({ rxPackets: PACKETS, txPackets: PACKETS, drops: {} });
    // Each frame is one copy or more, both ways; few are short.
    for (const { offloaded } of dataplane.snapshot().async?.rings ?? []) expect(offloaded).toBeGreaterThan(PACKETS / 2);
    expect(dataplane.snapshot().async?.rings ?? []).toHaveLength(async === undefined ? 0 : 2);
    await testpmd.stop();
    expect(problemsOf(await dataplane.stop())).toEqual([]);
  },
  2 * PACKETS_MS,
);

test.skipIf(missing.length > 0).each([
  { what: 'by the CPU', async: undefined },
  { what: 'by engines', async: { assignment: 'dynamic-vring', engines: 2 } },
])(
  'testpmd that is killed again and again leaves nothing behind, with copies $what',
  async ({ async }) => {
    const socket = folder.path(`killed${async === undefined ? '' : '-async'}.sock`);
    const { dataplane, machine } = await startWithMachine({
      version: 1,
      name: 'killed',
      lcores: [{ idle: 'park' }],
      ...(async === undefined ? {} : { async }),
      ports: {
        pmd: { type: 'vhost-user', socket, queues: 2 },
        from: { type: 'generator', rate: '50kpps' },
      },
    });
    const state = () => ({
      regions: machine.arena.regions().map(({ name }) => name),
      descriptors: descriptors(),
      mappings: mappings(),
    });
    const before = state();
    const received = (): number => dataplane.snapshot().ports.find(({ name }) => name === 'pmd')?.rxPackets ?? 0;
    const end = Date.now() + CYCLES_MS;
    let cycle = 0;
    for (; cycle < CYCLES && Date.now() < end; cycle++) {
      const packets = received();
      const testpmd = await echo({ socket, packed: cycle % 2 === 1, queues: 1 + (cycle % 3 === 0 ? 1 : 0) }, 60_000);
      await expect.poll(received, { timeout: 10_000 }).toBeGreaterThan(packets + 100);
      await testpmd.kill();
      await expect.poll(state, { timeout: 10_000 }).toEqual(before);
    }
    expect(cycle).toBeGreaterThan(2);
    expect(problemsOf(await dataplane.stop())).toEqual([]);
  },
  60_000 + CYCLES * 10_000,
);
