import { createEventDevice, type EventDevice } from '../eventdev/device.ts';
import { EVENT_OP, writeEvent } from '../eventdev/event.ts';
import { attachEventPort } from '../eventdev/port.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { assert } from '../util/assert.ts';
import type { AtomicResult, AtomicRole } from './atomic-role.ts';
import { type Row, rowOf } from './row.ts';
import { runRoles, twoCpus } from './two-cores.ts';

const STAGES = 2;
const FLOWS = 512;
/** Events of a flow that are on their way. */
const WINDOW = 8;
/** 1,024 times 2^20: more than a thousand million. */
const TARGET_MEGA = 1024;
const RUN_MS = 30 * 60_000;
const LOOK_MS = 1;

function setUp(arena: Arena, target: number): { device: EventDevice; roles: AtomicRole[] } {
  const device = createEventDevice(arena, {
    name: 'events',
    ports: [{}, {}],
    queues: new Array(STAGES).fill({ schedule: 'atomic' }),
    newEventsLimit: FLOWS * WINDOW + 256,
  });
  // All begin at one port, so that each flow's events have one sender at a time from the first one on.
  for (let queue = 0; queue < STAGES; queue++) device.link(0, queue);
  device.start();
  const slots = arena.allocate('slots', 32 << SLOT_SHIFT);
  const first = attachEventPort(arena, device.portAddress(0));
  for (let number = 0; number < WINDOW; number++) {
    for (let flow = 0; flow < FLOWS; flow += 32) {
      for (let i = 0; i < 32; i++) {
        arena.u32[(slots + (i << SLOT_SHIFT)) >>> 2] = number;
        writeEvent(arena, slots + (i << SLOT_SHIFT), { queue: 0, flow: flow + i, op: EVENT_OP.NEW });
      }
      assert(first.enqueue(slots, 32) === 32, 'there is a credit for each event');
    }
  }
  first.enqueue(slots, 0);
  const words = arena.allocate('words', 2 * STAGES * FLOWS * 4);
  const millions = arena.allocate('millions', 4);
  const roles = [0, 1].map((id): AtomicRole => {
    const own = arena.allocate(`slots ${id}`, 32 << SLOT_SHIFT);
    return {
      role: 'atomic',
      port: device.portAddress(id),
      slots: own,
      words,
      millions,
      target,
      flows: FLOWS,
      window: WINDOW,
    };
  });
  return { device, roles };
}

/** Takes all queues from one port, and, when all flows have left it, from the other one: flows move all the time. */
function keepMoving(device: EventDevice): () => void {
  let from = 0;
  const timer = setInterval(() => {
    if (device.unsettledFlows() > 0) return;
    for (let queue = 0; queue < STAGES; queue++) {
      device.link(from, queue);
      device.unlink(1 - from, queue);
    }
    from = 1 - from;
  }, LOOK_MS);
  return () => clearInterval(timer);
}

/**
 * Sends `mega` times 2^20 events through two atomic stages on two cores, while flows move as fast as they can, and checks each.
 * @throws Error when one was at two ports at once, out of order, or lost.
 */
export async function checkAtomic(mega: number): Promise<{ events: number; seconds: number; moved: number }> {
  const cpus = twoCpus();
  assert(typeof cpus !== 'string', `${cpus}`);
  const arena = createArena({ bytes: 16 << 20 });
  const { device, roles } = setUp(arena, mega);
  const stopMoving = keepMoving(device);
  const start = performance.now();
  const results = (await runRoles(arena, cpus, roles, RUN_MS)) as AtomicResult[];
  const seconds = (performance.now() - start) / 1000;
  stopMoving();
  const moved = [0, 1].reduce((sum, id) => sum + device.xstats.get(`port_${id}_emigrations`), 0);
  let left = 0;
  device.stop(() => {
    left++;
  });
  const events = results.reduce((sum, result) => sum + result.events, 0);
  const broken = results.reduce((sum, result) => sum + result.broken, 0);
  assert(broken === 0, `${broken} of ${events} events were at two ports at once, or out of order`);
  assert(left === FLOWS * WINDOW, `${left} of ${FLOWS * WINDOW} events are left`);
  return { events, seconds, moved };
}

/** A thousand million events, each of them checked: no figure of speed, but a rule that holds. */
export async function benchAtomic(): Promise<Row[]> {
  const nothing = { p50: null, p99: null, p999: null };
  const cpus = twoCpus();
  const name = 'atomic stages, checked events';
  if (typeof cpus === 'string') {
    return [rowOf({ ...nothing, name, unit: 'M/s', value: null, state: 'not measured', note: cpus }, null)];
  }
  const { events, seconds, moved } = await checkAtomic(TARGET_MEGA);
  const note = `${events} events in order and at one port each, ${moved} moves of flows`;
  return [rowOf({ ...nothing, name, unit: 'M/s', value: events / seconds / 1e6, state: 'several cores', note }, null)];
}
