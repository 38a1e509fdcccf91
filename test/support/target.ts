import { RingwayError } from 'ringway/memory';
import { parsePort, parseSetting, parseSteeringRule, parseXdp, type SteeringRule } from '#build/config/index.js';
import type { ControlTarget } from '#build/control/index.js';
import type { MapSummary, XdpAttachment, XdpReport } from '#build/control/target.js';
import type {
  AsyncSnapshot,
  EventdevSnapshot,
  EventPortSnapshot,
  Snapshot,
  XdpSnapshot,
} from '#build/telemetry/snapshot.js';

/** A snapshot with something in every part; counters grow with `tick`. */
export function testSnapshot(tick = 1, name = 'edge'): Snapshot {
  const port = { rxBytes: 0, txBytes: 0, txPackets: 0, rxPackets: 0, copies: 0, drops: {}, done: false };
  return {
    version: 1,
    name,
    pid: process.pid,
    uptimeSeconds: tick,
    atMs: 1_700_000_000_000 + tick * 1000,
    state: 'running',
    ports: [
      {
        ...port,
        name: 'in',
        type: 'capture',
        index: 0,
        rxPackets: 1000 * tick,
        rxBytes: 64_000 * tick,
        progress: Math.min(1, tick / 10),
      },
      {
        ...port,
        name: 'out',
        type: 'capture',
        index: 1,
        txPackets: 990 * tick,
        txBytes: 63_360 * tick,
        drops: { 'tx-full': 10 * tick },
      },
    ],
    lcores: [
      {
        index: 0,
        cpu: 1,
        idle: 'park',
        polls: 5000 * tick,
        emptyPolls: 100 * tick,
        packets: 1000 * tick,
        load: 0.42,
        alive: true,
      },
    ],
    totals: { received: 1000 * tick, copied: 0, sent: 990 * tick, dropped: 10 * tick },
    rings: [{ name: 'in.rx', fill: 12, slots: 1024 }],
    drops: { 'tx-full': 10 * tick },
    pool: {
      allocFast: 1000 * tick,
      allocSlow: 64,
      allocSlowHighOrder: 0,
      allocEmpty: 1,
      allocRefill: 0,
      allocWaive: 0,
      recycleCached: 990 * tick,
      recycleCacheFull: 0,
      recycleRing: 0,
      recycleRingFull: 0,
      releasedRefcnt: 0,
      buffers: 4096,
      free: 4000,
      inFlight: 96,
    },
    switch: { macs: 3, macsMax: 8192, learned: 3, moved: 0, aged: 0, evicted: 0, flooded: 7 },
  };
}

/** What the XDP program of a port said of its packets; the counters grow with `tick`. */
export function testXdp(tick = 1): XdpSnapshot {
  const counts = { pass: 500 * tick, drop: 400 * tick, tx: 30 * tick, redirect: 60 * tick, aborted: 10 * tick };
  return { object: 'filter', program: 'main', ...counts };
}

/** Two engines, of which one was ended, and a queue each way; copies grow with `tick`. */
export function testAsync(tick = 1): AsyncSnapshot {
  const work = { deferred: 50, done: 40, inProgress: 7, full: 0 };
  const engine = {
    submitted: 9,
    completed: 9,
    errors: 0,
    inFlight: 0,
    failed: 0,
    isShared: false,
    contended: 0,
    spins: 0,
  };
  const ring = { port: 'in', pair: 0, lcore: 0, offloaded: 1000 * tick, copied: 10, inFlight: 3 };
  const none = { full: 0, ringFull: 0, dropped: 0 };
  return {
    integration: 'defer',
    assignment: 'vring',
    threshold: 128,
    engines: [
      { ...engine, isShared: true, contended: 12, spins: 340 },
      { ...engine, completed: 9, errors: 2, failed: 2, fault: 'it hangs' },
    ],
    lcores: [work, { ...work, deferred: 0 }],
    rings: [
      { ...ring, ...none, sends: true, engine: 0 },
      { ...ring, full: 4, ringFull: 5, dropped: 6, sends: false, engine: -1 },
    ],
  };
}

/** The event device of a dataplane with a stage before the switch: lcore 0 has the ports, 1 and 2 are workers. */
export function testEventdev(tick = 1): EventdevSnapshot {
  const idle = { releaseEnqueued: 0, eventLatencyNs: 250, credits: 64, pending: 0 };
  const worker = (index: number, flows: number): EventPortSnapshot => ({
    ...idle,
    index,
    role: 'stages',
    serves: [0, 1],
    load: 0.5,
    newEnqueued: 0,
    forwardEnqueued: 1000 * tick,
    dequeued: 1000 * tick,
    queueEnqueued: [0, 500 * tick, 500 * tick],
    queueDequeued: [500 * tick, 500 * tick, 0],
    emigrations: 10 * tick,
    immigrations: 10 * tick,
    migrationLatencyNs: 2_500_000,
    flows: [flows, 8192 - flows, 0],
  });
  const move = { atMs: 1_700_000_000_000 + tick * 1000 - 250, queue: 0, from: 1, to: 2 };
  return {
    queues: [
      { index: 0, name: 'count.mjs', schedule: 'atomic' },
      { index: 1, name: 'switch', schedule: 'atomic' },
      { index: 2, name: 'tx 0', schedule: 'single-link' },
    ],
    ports: [
      {
        ...worker(0, 0),
        role: 'ports',
        serves: [2],
        load: 0,
        newEnqueued: 1000 * tick,
        forwardEnqueued: 0,
        flows: [0, 0, 0],
        queueDequeued: [0, 0, 1000 * tick],
        emigrations: 0,
        immigrations: 0,
      },
      { ...worker(1, 5000), migration: { flows: 3, state: 'pausing', forMs: 800, waitsFor: [2] } },
      { ...worker(2, 3192), unattendedMs: 2500 },
    ],
    credits: 4096,
    creditsOnLoan: 1024,
    moves: [
      { ...move, atMs: move.atMs - 1000, hash: 0x1234, from: 2, to: 1 },
      { ...move, hash: 0xa },
      { ...move, hash: 0xb },
    ],
  };
}

/** A dataplane that only remembers what was asked of it. */
export class FakeTarget implements ControlTarget {
  readonly name: string;
  readonly calls: unknown[] = [];
  readonly listeners = new Set<(line: string) => void>();
  readonly watchers = new Set<(report: XdpReport) => void>();
  readonly #attached = new Map<string, XdpAttachment>();
  readonly #entries = new Map<string, { readonly key: unknown; readonly value: unknown }>();
  readonly #rules = new Map<number, SteeringRule>();
  #nextRule = 1;
  ticks = 0;

  constructor(name = 'edge') {
    this.name = name;
  }

  snapshot(): Snapshot {
    return testSnapshot(++this.ticks, this.name);
  }

  async set(path: string, value: string): Promise<void> {
    this.calls.push(parseSetting(path, value));
  }

  async addPort(name: string, config: unknown): Promise<void> {
    this.calls.push(parsePort(name, config, { directory: '/' }));
  }

  async deletePort(name: string): Promise<void> {
    if (name !== 'in') throw new RingwayError('NOT_FOUND', `no port ${name}; there are: in, out`);
    this.calls.push({ deleted: name });
  }

  async addSteering(rule: unknown): Promise<number> {
    const id = this.#nextRule++;
    this.#rules.set(id, parseSteeringRule(rule));
    return id;
  }

  async deleteSteering(id: number): Promise<void> {
    if (!this.#rules.delete(id)) throw new RingwayError('NOT_FOUND', `no steering rule ${id}`);
  }

  listSteering(): { id: number; rule: SteeringRule; hits: number }[] {
    return [...this.#rules].map(([id, rule]) => ({ id, rule, hits: id * 10 }));
  }

  trace(port: string, onPacket: (line: string) => void): () => void {
    this.#known(port);
    this.listeners.add(onPacket);
    return () => this.listeners.delete(onPacket);
  }

  /** Lets all who trace see a packet. */
  packet(line: string): void {
    for (const listener of [...this.listeners]) listener(line);
  }

  async attachXdp(port: string, config: unknown): Promise<XdpAttachment> {
    this.#known(port);
    const { object, program = 'main', attach, trusted } = parseXdp(config, { directory: '/' });
    const attachment = { port, object, program, attach, checked: !trusted };
    this.#attached.set(port, attachment);
    return attachment;
  }

  async detachXdp(port: string): Promise<void> {
    if (!this.#attached.delete(port)) throw new RingwayError('NOT_FOUND', `port ${port}: runs no XDP program`);
  }

  listXdp(): XdpAttachment[] {
    return [...this.#attached.values()];
  }

  listMaps(): MapSummary[] {
    return [{ name: 'filter/denied', kind: 'LPM_TRIE', keyBytes: 8, valueBytes: 8, maxEntries: 1024 }];
  }

  dumpMap(name: string): { readonly key: unknown; readonly value: unknown }[] {
    this.#knownMap(name);
    return [...this.#entries.values()];
  }

  async updateMap(name: string, key: unknown, value: unknown): Promise<void> {
    this.#knownMap(name);
    this.#entries.set(JSON.stringify(key), { key, value });
  }

  async deleteMapEntry(name: string, key: unknown): Promise<void> {
    this.#knownMap(name);
    const text = JSON.stringify(key);
    if (!this.#entries.delete(text)) throw new RingwayError('NOT_FOUND', `map ${name}: no entry ${text}`);
  }

  watchXdp(onReport: (report: XdpReport) => void): () => void {
    this.watchers.add(onReport);
    return () => this.watchers.delete(onReport);
  }

  /** Lets all who watch hear a report. */
  report(report: XdpReport): void {
    for (const watcher of [...this.watchers]) watcher(report);
  }

  #known(port: string): void {
    if (port !== 'in') throw new RingwayError('NOT_FOUND', `no port ${port}; there are: in, out`);
  }

  #knownMap(name: string): void {
    if (name !== 'denied') throw new RingwayError('NOT_FOUND', `no map "${name}"; did you mean "filter/denied"?`);
  }

  requestStop(): void {
    this.calls.push('stop');
  }
}
