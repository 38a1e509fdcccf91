import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { EVENT_OP, type EventPort } from 'ringway/eventdev';
import { createArena } from 'ringway/memory';
import { expect, onTestFinished, test } from 'vitest';
import { sysAvailable } from '#build/sys/index.js';
import { type EventBench, eventBench } from '../support/event-bench.ts';

const unavailable = sysAvailable() ? false : 'koffi is not here, or this is not Linux';
if (unavailable) console.warn(`skipped: ${unavailable}`);
const EVENTS = 5000;
const FLOWS = 10;

/** A device in an arena that others may open: queue 0 is served by port 1, queue 1 by port 0. */
function sharedBench(): EventBench {
  const arena = createArena({ bytes: 8 << 20, shared: true, debug: true });
  return eventBench({ ports: 2, queues: [{ schedule: 'atomic' }, { schedule: 'atomic' }] }, [[1], [0]], arena);
}

/** Starts a process that forwards what port 1 gets, and waits until it has attached. */
async function forwarder({ arena, device }: EventBench) {
  const slots = arena.allocate('child slots', 32 * 16);
  const script = fileURLToPath(new URL('../support/event-process.mjs', import.meta.url));
  const args = [script, arena.handle.path ?? '', `${device.portAddress(1)}`, `${slots}`];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

test.skipIf(unavailable)(
  'another process forwards events of a running device in order; killed, its port is named',
  async () => {
    const bench = sharedBench();
    const child = await forwarder(bench);
    const next = new Array(FLOWS).fill(0);
    let sent = 0;
    let got = 0;
    const deadline = performance.now() + 20_000;
    while (got < EVENTS && performance.now() < deadline) {
      const fresh = Array.from({ length: Math.min(20, EVENTS - sent) }, (_, i) => ({
        queue: 0,
        flow: (sent + i) % FLOWS,
        op: EVENT_OP.NEW,
        id: Math.floor((sent + i) / FLOWS),
      }));
      if (fresh.length > 0) sent += bench.put(0, fresh);
      for (const { queue, flow, id } of bench.get(0)) {
        expect([queue, id]).toEqual([1, next[flow]++]);
        got++;
      }
    }
    expect(got).toBe(EVENTS);
    expect(bench.device.unattended(500).map(({ port }) => port)).toEqual([]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const [here] = bench.ports;
    for (let i = 0; i < 400; i++) {
      for (let k = 0; k < 200; k++) here?.maintain();
      if (bench.device.unattended(500).length > 0) break;
      await sleep(10);
    }
    expect(bench.device.unattended(500).map(({ port }) => port)).toEqual([1]);
    // What it had taken over is still accounted for.
    bench.device.stop();
    expect(bench.arena.damaged()).toEqual([]);
  },
);

test.skipIf(unavailable)(
  'a thread that waits notices what another process sends, though that cannot ring',
  async () => {
    const bench = sharedBench();
    const child = await forwarder(bench);
    bench.put(0, [{ queue: 0, flow: 1, op: EVENT_OP.NEW, id: 7 }]);
    bench.put(0, []);
    const port = bench.ports[0] as EventPort;
    expect(await port.waitAsync(10_000)).toBe(true);
    expect(bench.get(0).map(({ id }) => id)).toEqual([7]);
    bench.put(0, [{ queue: 0, flow: 1, op: EVENT_OP.NEW, id: 8 }]);
    bench.put(0, []);
    expect(port.dequeue(bench.slots, 32, 10_000)).toBe(1);
    // The end of its busy time is something to be noticed, too.
    expect(bench.get(0)).toEqual([]);
    expect(await port.waitAsync(20)).toBe(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
  },
);
