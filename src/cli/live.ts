import type { PortSnapshot, Snapshot } from '../telemetry/snapshot.ts';
import { formatBitRate, formatCount, formatDrops, formatPacketRate, formatPercent, formatSeconds } from './format.ts';
import { renderAsync } from './live-async.ts';
import { type EventsView, renderEvents } from './live-events.ts';
import { renderXdp } from './live-xdp.ts';
import { type Column, clip, renderBar, renderTable } from './table.ts';
import type { Style } from './terminal.ts';

const PORT_COLUMNS: readonly Column[] = [
  { title: 'PORT', align: 'left', rank: 0 },
  { title: 'TYPE', align: 'left', rank: 2 },
  { title: 'RX', align: 'right', rank: 0 },
  { title: 'RX RATE', align: 'right', rank: 4 },
  { title: 'TX', align: 'right', rank: 0 },
  { title: 'TX RATE', align: 'right', rank: 4 },
  { title: 'DROPS', align: 'right', rank: 5 },
  { title: 'FILL', align: 'right', rank: 3 },
  { title: 'STATE', align: 'left', rank: 1 },
];

const LCORE_COLUMNS: readonly Column[] = [
  { title: 'LCORE', align: 'left', rank: 0 },
  { title: 'CPU', align: 'right', rank: 2 },
  { title: 'LOAD', align: 'left', rank: 0 },
  { title: '', align: 'right', rank: 0 },
  { title: 'PACKETS', align: 'right', rank: 4 },
  { title: 'EMPTY POLLS', align: 'right', rank: 3 },
  { title: 'IDLE', align: 'left', rank: 1 },
];

/** What a frame of the live table is made of. */
export interface LiveView {
  readonly now: Snapshot;
  /** An older snapshot that rates are counted from; rates are since the start when missing. */
  readonly before?: Snapshot;
  /** Characters that a line may have. */
  readonly columns: number;
  readonly style: Style;
}

/** Counts of something per second, between two snapshots. */
function rateOf({ now, before }: LiveView, read: (snapshot: Snapshot) => number): number {
  const seconds = before === undefined ? now.uptimeSeconds : (now.atMs - before.atMs) / 1000;
  if (seconds <= 0) return 0;
  return Math.max(0, read(now) - (before === undefined ? 0 : read(before))) / seconds;
}

/** The part of the fullest ring of a port that is in use; undefined when it has none. */
function fillOf({ rings }: Snapshot, port: string): number | undefined {
  const own = rings.filter(({ name, slots }) => name.startsWith(`${port}.`) && slots > 0);
  return own.length === 0 ? undefined : Math.max(...own.map(({ fill, slots }) => fill / slots));
}

function stateOf(port: PortSnapshot, style: Style): string {
  if (port.fault !== undefined) return style.red(`fault: ${port.fault}`);
  if (port.done) return style.green('done');
  return port.progress === undefined ? '' : formatPercent(port.progress);
}

function portRow(view: LiveView, port: PortSnapshot): string[] {
  const { now, style } = view;
  const rate = (read: (port: PortSnapshot) => number): number =>
    rateOf(view, (snapshot) => {
      const same = snapshot.ports.find(({ name }) => name === port.name);
      return same === undefined ? 0 : read(same);
    });
  const drops = Object.values(port.drops).reduce((sum, count) => sum + count, 0);
  const fill = fillOf(now, port.name);
  return [
    style.bold(port.name),
    port.type,
    formatPacketRate(rate(({ rxPackets }) => rxPackets)),
    formatBitRate(rate(({ rxBytes }) => rxBytes)),
    formatPacketRate(rate(({ txPackets }) => txPackets)),
    formatBitRate(rate(({ txBytes }) => txBytes)),
    drops > 0 ? style.yellow(formatCount(drops)) : '0',
    fill === undefined ? '' : formatPercent(fill),
    stateOf(port, style),
  ];
}

function lcoreRows(view: LiveView): string[][] {
  const { now, style } = view;
  return now.lcores.map((lcore) => {
    const bar = renderBar(lcore.load, 20);
    const packets = rateOf(view, (snapshot) => snapshot.lcores[lcore.index]?.packets ?? 0);
    const emptyPart = lcore.polls === 0 ? 0 : lcore.emptyPolls / lcore.polls;
    return [
      String(lcore.index),
      lcore.cpu === undefined ? '' : String(lcore.cpu),
      lcore.load > 0.9 ? style.yellow(bar) : style.green(bar),
      lcore.alive ? formatPercent(lcore.load) : style.red('dead'),
      formatPacketRate(packets),
      formatPercent(emptyPart),
      lcore.idle,
    ];
  });
}

/** How much of all finite inputs was read, 0 to 1; undefined when one has no end or there are none. */
export function progressOf({ ports }: Snapshot): number | undefined {
  const inputs = ports.filter(({ progress, done }) => progress !== undefined || done);
  const endless = ports.some(({ progress, done, type }) => type === 'generator' && progress === undefined && !done);
  if (inputs.length === 0 || endless) return undefined;
  return inputs.reduce((sum, { progress, done }) => sum + (done ? 1 : (progress ?? 0)), 0) / inputs.length;
}

/** `████░░  42 %  1:05 left`, for inputs that have an end. */
function progressLine(view: LiveView): string[] {
  const progress = progressOf(view.now);
  if (progress === undefined) return [];
  const left = progress > 0 ? (view.now.uptimeSeconds * (1 - progress)) / progress : Number.NaN;
  const text = `${formatPercent(progress).padStart(6)}  ${progress >= 1 ? 'done' : `${formatSeconds(left)} left`}`;
  return [
    '',
    `${view.style.green(renderBar(progress, Math.max(10, Math.min(60, view.columns - text.length - 2))))}  ${text}`,
  ];
}

/** The event device, when there is one. */
function eventLines(view: LiveView): string[] {
  const { now, columns, style } = view;
  const { eventdev: events, atMs } = now;
  if (events === undefined) return [];
  const rate: EventsView['rateOf'] = (read, index) =>
    rateOf(view, ({ eventdev }) => {
      const port = eventdev?.ports[index];
      return port === undefined ? 0 : read(port);
    });
  return [...renderEvents({ events, atMs, columns, style, rateOf: rate }), ''];
}

/** The XDP programs of ports, when there are some. */
function xdpLines(view: LiveView): string[] {
  const { now, columns, style } = view;
  return renderXdp({
    ports: now.ports,
    columns,
    style,
    rateOf: (read, name) =>
      rateOf(view, ({ ports }) => {
        const xdp = ports.find((port) => port.name === name)?.xdp;
        return xdp === undefined ? 0 : read(xdp);
      }),
  });
}

/** Copies that engines do, when there are engines. */
function asyncLines(view: LiveView): string[] {
  const { now, columns, style } = view;
  if (now.async === undefined) return [];
  return renderAsync({
    async: now.async,
    columns,
    style,
    rateOf: (read, { port, pair, sends }) =>
      rateOf(view, ({ async }) => {
        const same = async?.rings.find((ring) => ring.port === port && ring.pair === pair && ring.sends === sends);
        return same === undefined ? 0 : read(same);
      }),
  });
}

/** A line for each disk of a virtual machine. */
function diskLines({ now, style }: LiveView): string[] {
  return (now.disks ?? []).map(({ name, connected, fault }) => {
    const state = connected ? style.green('in use') : fault === undefined ? 'not in use' : style.red(`fault: ${fault}`);
    return `disk    ${name}: ${state}`;
  });
}

/** The lines of the live table: ports, XDP programs, lcores, the event device, copies, drops by reason, disks, the pool, and how far the input was read. */
export function renderLive(view: LiveView): string[] {
  const { now, columns, style } = view;
  const { pool } = now;
  const drops = formatDrops(now.drops);
  const used = pool.buffers === 0 ? 0 : pool.inFlight / pool.buffers;
  const lines = [
    `${style.bold(now.name)}  ${now.state}  ${formatSeconds(now.uptimeSeconds)}  pid ${now.pid}`,
    '',
    ...renderTable(
      PORT_COLUMNS,
      now.ports.map((port) => portRow(view, port)),
      columns,
      style,
    ),
    '',
    ...xdpLines(view),
    ...renderTable(LCORE_COLUMNS, lcoreRows(view), columns, style),
    '',
    ...eventLines(view),
    ...asyncLines(view),
    `drops   ${drops === '' ? 'none' : style.yellow(drops)}`,
    ...diskLines(view),
    `pool    ${renderBar(used, 20)} ${formatPercent(used)} of ${formatCount(pool.buffers)} buffers in flight`,
    `switch  ${formatCount(now.switch.macs)} of ${formatCount(now.switch.macsMax)} MACs, ${formatCount(now.switch.flooded)} flooded`,
    ...progressLine(view),
  ];
  return lines.map((line) => clip(line, columns));
}
