import { attachEventPort, createEventDevice, type EventDevice, type EventPort, writeEvent } from 'ringway/eventdev';
import type { Arena } from 'ringway/memory';
import * as layout from '#build/eventdev/layout.js';
import type { EventDeviceOptions } from '#build/eventdev/options.js';
import { testArena } from './arena.ts';

/** A started device with every queue linked as `links` says (all ports, by default), its ports attached, and a burst's slots. */
export interface EventBench {
  readonly arena: Arena;
  readonly device: EventDevice;
  readonly ports: EventPort[];
  readonly slots: number;
  /** Enqueues one burst of events at port `port`; each has its number in its first word. Returns how many were taken. */
  put(port: number, events: readonly TestEvent[]): number;
  /** Dequeues one burst at port `port`. */
  get(port: number, max?: number): TestEvent[];
  /** Sends what every port buffers. */
  flush(): void;
}

export interface TestEvent {
  readonly queue: number;
  readonly flow: number;
  readonly op: number;
  readonly id?: number;
}

export function eventBench(
  options: Omit<EventDeviceOptions, 'name'>,
  links?: readonly (readonly number[])[],
  arena = testArena(),
): EventBench {
  const device = createEventDevice(arena, { name: 'events', ...options });
  for (let queue = 0; queue < device.queues; queue++) {
    for (const port of links?.[queue] ?? Array.from({ length: device.ports }, (_, id) => id)) device.link(port, queue);
  }
  device.start();
  const slots = arena.allocate('slots', 128 * 16);
  const ports = Array.from({ length: device.ports }, (_, id) => attachEventPort(arena, device.portAddress(id)));
  const portOf = (id: number): EventPort => ports[id] as EventPort;
  return {
    arena,
    device,
    ports,
    slots,
    put(port, events) {
      for (const [i, event] of events.entries()) {
        arena.u32[(slots + i * 16) >>> 2] = event.id ?? 0;
        writeEvent(arena, slots + i * 16, event);
      }
      return portOf(port).enqueue(slots, events.length);
    },
    get(port, max = 128) {
      const n = portOf(port).dequeue(slots, max);
      return Array.from({ length: n }, (_, i) => readTestEvent(arena, slots + i * 16));
    },
    flush() {
      for (const port of ports) port.enqueue(slots, 0);
    },
  };
}

/** Released events of ordered queues whose turn has not come. */
export function releasedPlaces({ arena, device }: Pick<EventBench, 'arena' | 'device'>): number {
  const word = (address: number): number => arena.u32[address >>> 2] as number;
  let n = 0;
  for (let queue = 0; queue < device.queues; queue++) {
    const ring = word(device.address + layout.EVDEV_ORDERED_RINGS + queue * 4);
    if (ring === 0) continue;
    const mask = word(ring + layout.ORDERED_MASK);
    const head = word(ring + layout.ORDERED_HEAD);
    for (let index = word(ring + layout.ORDERED_DRAIN); index < head; index++) {
      const place = ring + layout.ORDERED_PLACES + ((index & mask) << layout.PLACE_SHIFT);
      if (word(place + layout.PLACE_STATE) === layout.PLACE_RELEASED) n++;
    }
  }
  return n;
}

/** The event at `slot`. */
export function readTestEvent(arena: Arena, slot: number): Required<TestEvent> {
  const word = arena.u16[(slot + 14) >>> 1] ?? 0;
  return {
    queue: word & 15,
    flow: arena.u32[(slot + 8) >>> 2] ?? 0,
    op: (word >>> 4) & 3,
    id: arena.u32[slot >>> 2] ?? 0,
  };
}
