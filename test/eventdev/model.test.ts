import fc from 'fast-check';
import { EVENT_OP, type EventPortOptions, type Schedule } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import { testArena } from '../support/arena.ts';
import { type EventBench, eventBench, releasedPlaces, type TestEvent } from '../support/event-bench.ts';

interface Setup {
  readonly ports: EventPortOptions[];
  readonly queues: { schedule: Schedule; priority: number; links: number[] }[];
}

/** A call, with numbers that choose among what is possible at the time. */
type Call = readonly ['new' | 'pass' | 'get' | 'flush' | 'maintain' | 'relink', number, number];

const setups: fc.Arbitrary<Setup> = fc
  .array(fc.record({ implicitRelease: fc.boolean(), dequeueDepth: fc.integer({ min: 1, max: 128 }) }), {
    minLength: 1,
    maxLength: 4,
  })
  .chain((ports) => {
    const links = fc.uniqueArray(fc.nat(ports.length - 1), { minLength: 1 });
    const queue = fc
      .tuple(
        fc.constantFrom<Schedule>('atomic', 'parallel', 'single-link', 'ordered'),
        fc.constantFrom(0, 128, 128, 255),
        links,
      )
      .map(([schedule, priority, linked]) => ({
        schedule,
        priority,
        links: schedule === 'single-link' ? linked.slice(0, 1) : linked,
      }));
    return fc.record({ ports: fc.constant(ports), queues: fc.array(queue, { minLength: 1, maxLength: 4 }) });
  });
const calls = fc.array(
  fc.tuple(
    fc.constantFrom<Call[0]>('new', 'new', 'pass', 'get', 'get', 'flush', 'maintain', 'relink'),
    fc.nat(),
    fc.nat(40),
  ),
  { minLength: 20, maxLength: 200 },
);

/** An event that entered an ordered queue, and what became of it. */
interface Place {
  readonly id: number;
  next?: TestEvent | 'released';
}

/** What a device should do, in maps and lists. */
class Model {
  readonly #setup: Setup;
  readonly #bench: EventBench;
  /** Events in the device, by number. */
  readonly #inside = new Map<number, TestEvent>();
  /** Per source (a port, or an ordered queue), queue and flow: numbers in the order sent. Of single-link and atomic queues. */
  readonly #order = new Map<string, number[]>();
  readonly #source = new Map<number, string>();
  readonly #held: TestEvent[][];
  /** Per queue, the ports that its events may come to: those linked, and those unlinked that have not settled yet. */
  readonly #served: Set<number>[];
  /** Per ordered queue, what entered it and has not left, in order. */
  readonly #places: Place[][];
  #next = 0;

  constructor(setup: Setup) {
    this.#setup = setup;
    this.#held = setup.ports.map(() => []);
    const queues = setup.queues.map(({ schedule, priority }) =>
      schedule === 'ordered' ? { schedule } : { schedule, priority },
    );
    const links = setup.queues.map((queue) => queue.links);
    this.#places = links.map(() => []);
    this.#served = links.map((linked) => new Set(linked));
    this.#bench = eventBench({ ports: setup.ports, queues, newEventsLimit: 300 }, links, testArena());
  }

  #send(port: number, events: TestEvent[]): void {
    const n = this.#bench.put(port, events);
    expect([0, Math.min(events.length, 32)]).toContain(n);
    for (const event of events.slice(0, n)) {
      const from = event.op === EVENT_OP.NEW ? undefined : this.#held[port]?.shift();
      const place = from === undefined ? undefined : this.#placeOf(from);
      if (event.op !== EVENT_OP.RELEASE) this.#inside.set(event.id as number, event);
      if (place !== undefined) place.next = event.op === EVENT_OP.RELEASE ? 'released' : event;
      else if (event.op !== EVENT_OP.RELEASE) this.#enter(event, `${port}`);
    }
    this.#drain();
  }

  /** An event comes to its queue, in the order of its source. */
  #enter(event: TestEvent, source: string): void {
    const id = event.id as number;
    if (this.#setup.queues[event.queue]?.schedule === 'ordered') this.#places[event.queue]?.push({ id });
    this.#source.set(id, source);
    const key = `${source} ${event.queue} ${event.flow}`;
    this.#order.set(key, [...(this.#order.get(key) ?? []), id]);
  }

  #placeOf({ queue, id }: TestEvent): Place | undefined {
    return this.#places[queue]?.find((place) => place.id === id);
  }

  /** What is finished leaves the ordered queues in order. */
  #drain(): void {
    for (const [queue, places] of this.#places.entries()) {
      for (let next = places[0]?.next; next !== undefined; next = places[0]?.next) {
        places.shift();
        if (next !== 'released') this.#enter(next, `ordered ${queue}`);
      }
    }
  }

  #receive(port: number, max: number): void {
    const { implicitRelease = true, dequeueDepth = 32 } = this.#setup.ports[port] ?? {};
    const got = this.#bench.get(port, max);
    if (implicitRelease) {
      for (const event of (this.#held[port] as TestEvent[]).splice(0)) {
        const place = this.#placeOf(event);
        if (place !== undefined) place.next = 'released';
      }
      this.#drain();
    }
    expect(got.length).toBeLessThanOrEqual(Math.min(max, dequeueDepth));
    const priorities = got.map(({ queue }) => {
      const { schedule, priority = -1 } = this.#setup.queues[queue] ?? {};
      return schedule === 'ordered' ? 1000 : priority;
    });
    expect(priorities).toEqual(priorities.toSorted((a, b) => a - b));
    for (const event of got) {
      const id = event.id as number;
      expect(event).toEqual({ ...this.#inside.get(id) });
      this.#inside.delete(id);
      const queue = this.#setup.queues[event.queue];
      expect(this.#served[event.queue]).toContain(port);
      if (queue?.schedule !== 'parallel') {
        expect(this.#order.get(`${this.#source.get(id)} ${event.queue} ${event.flow}`)?.shift()).toBe(id);
      }
      this.#held[port]?.push(event);
    }
  }

  /** Links a port to a queue, or unlinks it; what may not be is refused. */
  #relink(port: number, queue: number): void {
    const { device } = this.#bench;
    const before = device.links(queue);
    const linked = before.includes(port);
    const change = (): unknown => (linked ? device.unlink(port, queue) : device.link(port, queue));
    if (this.#setup.queues[queue]?.schedule === 'single-link') expect(change).toThrow(/its port is fixed/);
    else if (linked && before.length === 1) expect(change).toThrow(/the last one/);
    else change();
    for (const id of device.links(queue)) this.#served[queue]?.add(id);
    if (this.#setup.queues[queue]?.schedule === 'ordered') this.#served[queue] = new Set(device.links(queue));
  }

  /** Once flows have settled, events of atomic queues come to linked ports alone. */
  #close(): void {
    if (this.#bench.device.unsettledFlows() > 0) return;
    for (const [queue, { schedule }] of this.#setup.queues.entries()) {
      if (schedule === 'atomic') this.#served[queue] = new Set(this.#bench.device.links(queue));
    }
  }

  call([what, choice, n]: Call): void {
    const port = choice % this.#setup.ports.length;
    const queueOf = (i: number): number => (choice + i) % this.#setup.queues.length;
    if (what === 'new') {
      const fresh = (_: unknown, i: number) => ({
        queue: queueOf(i),
        flow: (choice * i) % 50,
        op: EVENT_OP.NEW,
        id: this.#next++,
      });
      this.#send(port, Array.from({ length: n }, fresh));
    } else if (what === 'pass') {
      const passed = (this.#held[port] as TestEvent[]).slice(0, n);
      this.#send(
        port,
        passed.map((event, i) =>
          (choice + i) % 3 === 0
            ? { ...event, op: EVENT_OP.RELEASE }
            : { ...event, op: EVENT_OP.FORWARD, queue: queueOf(i), id: this.#next++ },
        ),
      );
    } else if (what === 'get') this.#receive(port, n);
    else if (what === 'relink') this.#relink(port, queueOf(n));
    else if (what === 'flush') this.#bench.ports[port]?.enqueue(0, 0);
    else this.#bench.ports[port]?.maintain();
    if (n % 8 === 0) this.#close();
    this.check();
  }

  /** Credits on loan are the ports' stocks, the events inside and those held. */
  check(): void {
    const stats = this.#bench.device.xstats.all();
    const stock = this.#held.reduce((sum, _, port) => sum + (stats[`port_${port}_inflight_credits`] ?? 0), 0);
    const held = this.#held.reduce((sum, events) => sum + events.length, 0);
    // Released events of ordered queues have theirs until it is their turn.
    const ended = releasedPlaces(this.#bench);
    expect(stats.dev_credits_on_loan).toBe(stock + held + this.#inside.size + ended);
    for (const [port, events] of this.#held.entries())
      expect(stats[`port_${port}_pending_releases`]).toBe(events.length);
  }

  /** Stops the device: what is inside comes out, and nothing else. */
  end(): void {
    this.#bench.device.stop((slot) => {
      expect(this.#inside.delete(this.#bench.arena.u32[slot >>> 2] ?? -1)).toBe(true);
    });
    expect(this.#inside.size).toBe(0);
    expect(this.#bench.arena.damaged()).toEqual([]);
  }
}

test('a device does what a model of maps and lists does, with any queues, links and calls', () => {
  fc.assert(
    fc.property(setups, calls, (setup, list) => {
      const model = new Model(setup);
      for (const call of list) model.call(call);
      model.end();
    }),
    { numRuns: 60 },
  );
});
