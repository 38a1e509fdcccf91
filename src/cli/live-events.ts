import type { EventdevSnapshot, EventPortSnapshot, FlowMoveSnapshot } from '../telemetry/snapshot.ts';
import { formatCount, formatPacketRate, formatPercent, formatSeconds } from './format.ts';
import { type Column, renderBar, renderTable } from './table.ts';
import type { Style } from './terminal.ts';

const COLUMNS: readonly Column[] = [
  { title: 'EVENT PORT', align: 'left', rank: 0 },
  { title: 'SERVES', align: 'left', rank: 2 },
  { title: 'LOAD', align: 'left', rank: 1 },
  { title: '', align: 'right', rank: 0 },
  { title: 'IN', align: 'right', rank: 0 },
  { title: 'OUT', align: 'right', rank: 4 },
  { title: 'FLOWS', align: 'right', rank: 0 },
  { title: 'MOVED IN', align: 'right', rank: 3 },
  { title: 'MOVED OUT', align: 'right', rank: 3 },
  { title: 'MOVE TAKES', align: 'right', rank: 2 },
  { title: 'STATE', align: 'left', rank: 0 },
];

/** Moves are shown as they happen: the last so many, those that go the same way at once as one. */
const MOVES_SHOWN = 4;
/** Flow hashes that a line of moves names. */
const HASHES_SHOWN = 8;

/** What the section is made of: the event device now, and counts per second of something of one port. */
export interface EventsView {
  readonly events: EventdevSnapshot;
  readonly atMs: number;
  readonly columns: number;
  readonly style: Style;
  rateOf(read: (port: EventPortSnapshot) => number, index: number): number;
}

function formatRate(perSecond: number): string {
  return perSecond === 0 ? '' : `${formatCount(Math.ceil(perSecond))}/s`;
}

/** Moves that take longer are worth to be seen under way. */
const SLOW_MS = 50;

function stateOf({ unattendedMs, migration }: EventPortSnapshot, style: Style): string {
  if (unattendedMs !== undefined) return style.red(`unattended for ${formatSeconds(unattendedMs / 1000)}`);
  if (migration === undefined || migration.forMs < SLOW_MS) return '';
  const { flows, state, forMs, waitsFor } = migration;
  const whom = waitsFor.length === 0 ? '' : `, waits for ${waitsFor.join(' ')}`;
  return style.yellow(`${state} ${flows} flows for ${formatSeconds(forMs / 1000)}${whom}`);
}

function portRow({ events, style, rateOf }: EventsView, port: EventPortSnapshot): string[] {
  const bar = renderBar(port.load, 10);
  const isWorker = port.role === 'stages';
  const shared = events.queues.filter(({ schedule }) => schedule !== 'single-link');
  const moved = (count: number, read: (port: EventPortSnapshot) => number): string =>
    isWorker ? `${formatCount(count)} ${formatRate(rateOf(read, port.index))}`.trimEnd() : '';
  return [
    String(port.index),
    port.role,
    port.load > 0.9 ? style.yellow(bar) : style.green(bar),
    formatPercent(port.load),
    formatPacketRate(rateOf(({ dequeued }) => dequeued, port.index)),
    formatPacketRate(rateOf(({ newEnqueued, forwardEnqueued }) => newEnqueued + forwardEnqueued, port.index)),
    isWorker ? shared.map(({ index }) => formatCount(port.flows[index] ?? 0)).join(' ') : '',
    moved(port.immigrations, ({ immigrations }) => immigrations),
    moved(port.emigrations, ({ emigrations }) => emigrations),
    port.emigrations === 0 ? '' : `${(port.migrationLatencyNs / 1e6).toFixed(2)} ms`,
    stateOf(port, style),
  ];
}

/** The newest moves first, those seen together between the same two ports as one. */
function groupMoves(moves: readonly FlowMoveSnapshot[]): FlowMoveSnapshot[][] {
  const groups: FlowMoveSnapshot[][] = [];
  for (const move of [...moves].reverse()) {
    const group = groups.find(
      ([first]) =>
        first?.atMs === move.atMs && first.queue === move.queue && first.from === move.from && first.to === move.to,
    );
    if (group === undefined) groups.push([move]);
    else group.push(move);
  }
  return groups.slice(0, MOVES_SHOWN);
}

function moveLine({ events, atMs, style }: EventsView, moves: readonly FlowMoveSnapshot[]): string {
  const [{ queue, from, to, atMs: movedAtMs }] = moves as [FlowMoveSnapshot];
  const hashes = moves.slice(0, HASHES_SHOWN).map(({ hash }) => hash.toString(16));
  const more = moves.length > HASHES_SHOWN ? ` and ${moves.length - HASHES_SHOWN} more` : '';
  const age = `${formatSeconds(Math.max(0, atMs - movedAtMs) / 1000)} ago`;
  const name = events.queues[queue]?.name ?? String(queue);
  return `${style.dim(age.padStart(10))}  ${name}  ${from} → ${to}  ${hashes.join(' ')}${more}`;
}

/** The lines about the event device: a row for each port, what is lent of its credits, the last flows that moved. */
export function renderEvents(view: EventsView): string[] {
  const { events, columns, style } = view;
  const { credits, creditsOnLoan, queues } = events;
  const stages = queues.filter(({ schedule }) => schedule !== 'single-link').map(({ name }) => name);
  const used = credits === 0 ? 0 : creditsOnLoan / credits;
  return [
    ...renderTable(
      COLUMNS,
      events.ports.map((port) => portRow(view, port)),
      columns,
      style,
    ),
    `stages  ${stages.join(' → ')}, ${formatPercent(used)} of ${formatCount(credits)} credits on loan`,
    ...groupMoves(events.moves).map((moves) => moveLine(view, moves)),
  ];
}
