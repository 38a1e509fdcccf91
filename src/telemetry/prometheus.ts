import type { Snapshot } from './snapshot.ts';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

/** Backslash, line feed and quote, as the format wants them in a label (Prometheus text format 0.0.4). */
function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

function formatValue(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return String(value);
}

class Writer {
  readonly #lines: string[] = [];
  readonly #common: Labels;

  constructor(common: Labels) {
    this.#common = common;
  }

  counter(name: string, help: string, samples: readonly Sample[]): void {
    this.#family(`${name}_total`, 'counter', help, samples);
  }

  gauge(name: string, help: string, samples: readonly Sample[]): void {
    this.#family(name, 'gauge', help, samples);
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`;
  }

  #family(name: string, type: string, help: string, samples: readonly Sample[]): void {
    if (samples.length === 0) return;
    this.#lines.push(`# HELP ringway_${name} ${help}`, `# TYPE ringway_${name} ${type}`);
    for (const [labels, value] of samples) {
      const pairs = Object.entries({ ...this.#common, ...labels }).map(
        ([key, text]) => `${key}="${escapeLabel(text)}"`,
      );
      this.#lines.push(`ringway_${name}{${pairs.join(',')}} ${formatValue(value)}`);
    }
  }
}

function writeXdp(writer: Writer, { ports }: Snapshot): void {
  const actions = ['pass', 'drop', 'tx', 'redirect', 'aborted'] as const;
  writer.counter(
    'port_xdp_packets',
    'Packets by what the XDP programs of the port said.',
    ports.flatMap(({ name, xdp }) =>
      xdp === undefined ? [] : actions.map((action): Sample => [{ port: name, action }, xdp[action]]),
    ),
  );
}

function writePorts(writer: Writer, { ports }: Snapshot): void {
  type Port = Snapshot['ports'][number];
  const samples = (read: (port: Port) => number): Sample[] => ports.map((port) => [{ port: port.name }, read(port)]);
  writer.counter(
    'port_rx_packets',
    'Packets that entered.',
    samples((port) => port.rxPackets),
  );
  writer.counter(
    'port_rx_bytes',
    'Bytes that entered.',
    samples((port) => port.rxBytes),
  );
  writer.counter(
    'port_tx_packets',
    'Packets that left.',
    samples((port) => port.txPackets),
  );
  writer.counter(
    'port_tx_bytes',
    'Bytes that left.',
    samples((port) => port.txBytes),
  );
  writer.counter(
    'port_copies',
    'Packets made of what entered: by floods, mirrors and injected duplicates.',
    samples((port) => port.copies),
  );
  const merged = ports.flatMap(({ name, merged }): Sample[] =>
    merged === undefined ? [] : [[{ port: name }, merged]],
  );
  writer.counter('port_merged', 'Packets that were received and became part of others.', merged);
  const drops = ports.flatMap(({ name, drops }) =>
    Object.entries(drops).map(([reason, count]): Sample => [{ port: name, reason }, count]),
  );
  writer.counter('port_drops', 'Packets dropped at the port, by reason.', drops);
  writer.gauge(
    'port_up',
    '0 when the port was latched off by a fault.',
    samples(({ fault }) => (fault === undefined ? 1 : 0)),
  );
  const progress = ports.flatMap(({ name, progress }): Sample[] =>
    progress === undefined ? [] : [[{ port: name }, progress]],
  );
  writer.gauge('port_progress_ratio', 'How much of a finite input was read.', progress);
}

function writeLcores(writer: Writer, { lcores }: Snapshot): void {
  type Lcore = Snapshot['lcores'][number];
  const samples = (read: (lcore: Lcore) => number): Sample[] =>
    lcores.map((lcore) => [{ lcore: String(lcore.index) }, read(lcore)]);
  writer.counter(
    'lcore_polls',
    'Polls of all ports and rings.',
    samples((lcore) => lcore.polls),
  );
  writer.counter(
    'lcore_empty_polls',
    'Polls that found nothing.',
    samples((lcore) => lcore.emptyPolls),
  );
  writer.counter(
    'lcore_packets',
    'Packets handled.',
    samples((lcore) => lcore.packets),
  );
  writer.gauge(
    'lcore_load_ratio',
    'Part of the recent time spent on packets.',
    samples((lcore) => lcore.load),
  );
  writer.gauge(
    'lcore_alive',
    '0 when the thread does not answer.',
    samples((lcore) => (lcore.alive ? 1 : 0)),
  );
}

function writePool(writer: Writer, { pool }: Snapshot): void {
  const one = (value: number): Sample[] => [[{}, value]];
  writer.gauge('pool_buffers', 'Packet buffers.', one(pool.buffers));
  writer.gauge('pool_free', 'Packet buffers that nobody holds.', one(pool.free));
  writer.gauge('pool_in_flight', 'Packet buffers that are held.', one(pool.inFlight));
  writer.counter('pool_alloc_fast', 'Buffers taken from a cache.', one(pool.allocFast));
  writer.counter('pool_alloc_slow', 'Buffers taken that were never used before.', one(pool.allocSlow));
  writer.counter('pool_alloc_slow_high_order', 'Frames that took several buffers.', one(pool.allocSlowHighOrder));
  writer.counter('pool_alloc_empty', 'Times the recycle ring was empty.', one(pool.allocEmpty));
  writer.counter('pool_alloc_refill', 'Buffers taken from the recycle ring.', one(pool.allocRefill));
  writer.counter('pool_alloc_waive', 'Addresses in the recycle ring that were refused.', one(pool.allocWaive));
  writer.counter('pool_recycle_cached', 'Buffers given back to a cache.', one(pool.recycleCached));
  writer.counter('pool_recycle_cache_full', 'Times a cache was full.', one(pool.recycleCacheFull));
  writer.counter('pool_recycle_ring', 'Buffers moved to the recycle ring.', one(pool.recycleRing));
  writer.counter('pool_recycle_ring_full', 'Buffers that found the recycle ring full.', one(pool.recycleRingFull));
  writer.counter('pool_released_refcnt', 'Shared buffers given up while others held them.', one(pool.releasedRefcnt));
}

function writeSwitch(writer: Writer, snapshot: Snapshot): void {
  const one = (value: number): Sample[] => [[{}, value]];
  const { macs, macsMax, learned, moved, aged, evicted, flooded } = snapshot.switch;
  writer.gauge('switch_macs', 'MAC addresses known.', one(macs));
  writer.gauge('switch_macs_max', 'MAC addresses that the table holds.', one(macsMax));
  writer.counter('switch_learned', 'MAC addresses learned.', one(learned));
  writer.counter('switch_moved', 'MAC addresses that came up at another port.', one(moved));
  writer.counter('switch_aged', 'MAC addresses forgotten by age.', one(aged));
  writer.counter('switch_evicted', 'MAC addresses that gave way to newer ones.', one(evicted));
  writer.counter('switch_flooded', 'Packets sent to all ports of their VLAN.', one(flooded));
}

function writeEventdev(writer: Writer, { eventdev }: Snapshot): void {
  if (eventdev === undefined) return;
  const { ports, queues } = eventdev;
  type Port = (typeof ports)[number];
  const labels = ({ index }: Port): Labels => ({ lcore: String(index) });
  const samples = (read: (port: Port) => number): Sample[] => ports.map((port) => [labels(port), read(port)]);
  const byQueue = (read: (port: Port) => readonly number[]): Sample[] =>
    ports.flatMap((port) =>
      port.serves.map(
        (index): Sample => [
          { ...labels(port), queue: String(index), stage: queues[index]?.name ?? '' },
          read(port)[index] ?? 0,
        ],
      ),
    );
  const counter = (name: string, help: string, read: (port: Port) => number): void =>
    writer.counter(`eventdev_${name}`, help, samples(read));
  const gauge = (name: string, help: string, read: (port: Port) => number): void =>
    writer.gauge(`eventdev_${name}`, help, samples(read));
  gauge('load_ratio', 'Part of the recent time in which the lcore had events.', (port) => port.load);
  counter('new_enqueued', 'New events that the lcore sent.', (port) => port.newEnqueued);
  counter('forward_enqueued', 'Events that it forwarded.', (port) => port.forwardEnqueued);
  counter('emigrations', 'Flows that moved away from the lcore.', (port) => port.emigrations);
  counter('immigrations', 'Flows that moved to it.', (port) => port.immigrations);
  gauge('migration_seconds', 'Mean time that a flow took to move away.', (port) => port.migrationLatencyNs / 1e9);
  gauge('event_seconds', 'Mean busy time for an event.', (port) => port.eventLatencyNs / 1e9);
  gauge('unattended', '1 when the lcore left its event port alone for a second.', (port) =>
    port.unattendedMs === undefined ? 0 : 1,
  );
  writer.counter(
    'eventdev_dequeued',
    'Events that the lcore took, by stage.',
    byQueue((port) => port.queueDequeued),
  );
  const shared = new Set(queues.filter(({ schedule }) => schedule !== 'single-link').map(({ index }) => String(index)));
  const owned = byQueue((port) => port.flows).filter(([{ queue = '' }]) => shared.has(queue));
  writer.gauge('eventdev_flows', 'Flow hashes that the lcore owns, by stage.', owned);
  writer.gauge('eventdev_credits', 'Events that may be on their way at once.', [[{}, eventdev.credits]]);
  writer.gauge('eventdev_credits_on_loan', 'Credits that lcores have borrowed.', [[{}, eventdev.creditsOnLoan]]);
}

function writeAsync(writer: Writer, { async }: Snapshot): void {
  if (async === undefined) return;
  const { engines, lcores, rings } = async;
  const list = <T>(
    all: readonly T[],
    labels: (each: T, index: number) => Labels,
    read: (each: T) => number,
  ): Sample[] => all.map((each, index) => [labels(each, index), read(each)]);
  const engine = (read: (each: (typeof engines)[number]) => number): Sample[] =>
    list(engines, (_, index) => ({ engine: String(index) }), read);
  const lcore = (read: (each: (typeof lcores)[number]) => number): Sample[] =>
    list(lcores, (_, index) => ({ lcore: String(index) }), read);
  const ring = (read: (each: (typeof rings)[number]) => number): Sample[] =>
    list(rings, ({ port, pair, sends }) => ({ port, pair: String(pair), direction: sends ? 'send' : 'receive' }), read);
  const count = (name: string, help: string, samples: Sample[]): void => writer.counter(`async_${name}`, help, samples);
  writer.gauge(
    'async_engine_up',
    '0 when the engine works no more.',
    engine(({ fault }) => (fault === undefined ? 1 : 0)),
  );
  writer.gauge(
    'async_engine_in_flight',
    'Copies that the engine has.',
    engine((each) => each.inFlight),
  );
  count(
    'engine_submitted',
    'Copies that the engine was given.',
    engine((each) => each.submitted),
  );
  count(
    'engine_completed',
    'Copies that it was done with, failed ones included.',
    engine((each) => each.completed),
  );
  count(
    'engine_errors',
    'Copies that it failed at.',
    engine((each) => each.errors),
  );
  count(
    'engine_failed',
    'Failed copies that the CPU did.',
    engine((each) => each.failed),
  );
  count(
    'engine_contended',
    'Times that an lcore waited for another to use it.',
    engine((each) => each.contended),
  );
  count(
    'engine_spins',
    'Looks at the lock while an lcore waited.',
    engine((each) => each.spins),
  );
  count(
    'work_deferred',
    'Sends that left work.',
    lcore((each) => each.deferred),
  );
  count(
    'work_done',
    'Items of work that were dealt with.',
    lcore((each) => each.done),
  );
  count(
    'work_in_progress',
    'Looks at work that was not done.',
    lcore((each) => each.inProgress),
  );
  count(
    'work_full',
    'Sends whose work found no room.',
    lcore((each) => each.full),
  );
  count(
    'ring_offloaded',
    'Copies that an engine was given.',
    ring((each) => each.offloaded),
  );
  count(
    'ring_copied',
    'Copies that the CPU did.',
    ring((each) => each.copied),
  );
  count(
    'ring_channel_full',
    'Times that a packet waited for room in a channel.',
    ring((each) => each.full),
  );
  count(
    'ring_full',
    'Sends that found the ring before the queue full.',
    ring((each) => each.ringFull),
  );
  count(
    'ring_dropped',
    'Packets that were dropped for that.',
    ring((each) => each.dropped),
  );
  writer.gauge(
    'async_ring_in_flight',
    'Packets that are being copied.',
    ring((each) => each.inFlight),
  );
}

/** The media type of `prometheusText`. */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** A snapshot in Prometheus' text format 0.0.4. Every sample has a label `dataplane` with the snapshot's name. */
export function prometheusText(snapshot: Snapshot): string {
  const writer = new Writer({ dataplane: snapshot.name });
  writer.gauge('uptime_seconds', 'Seconds since the start.', [[{}, snapshot.uptimeSeconds]]);
  writer.gauge('running', '1 while packets move.', [[{}, snapshot.state === 'running' ? 1 : 0]]);
  writePorts(writer, snapshot);
  writeXdp(writer, snapshot);
  writeLcores(writer, snapshot);
  const rings = snapshot.rings;
  writer.gauge(
    'ring_fill',
    'Slots in use.',
    rings.map(({ name, fill }): Sample => [{ ring: name }, fill]),
  );
  writer.gauge(
    'ring_slots',
    'Slots.',
    rings.map(({ name, slots }): Sample => [{ ring: name }, slots]),
  );
  const drops = Object.entries(snapshot.drops).map(([reason, count]): Sample => [{ reason }, count]);
  writer.counter('drops', 'Packets dropped anywhere, by reason.', drops);
  writePool(writer, snapshot);
  writeSwitch(writer, snapshot);
  writeEventdev(writer, snapshot);
  writeAsync(writer, snapshot);
  return writer.text();
}
