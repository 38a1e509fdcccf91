import type { AsyncRingSnapshot, AsyncSnapshot } from '../telemetry/snapshot.ts';
import { formatCount, formatPacketRate } from './format.ts';
import { type Column, renderTable } from './table.ts';
import type { Style } from './terminal.ts';

const COLUMNS: readonly Column[] = [
  { title: 'COPIES OF', align: 'left', rank: 0 },
  { title: 'LCORE', align: 'right', rank: 2 },
  { title: 'ENGINE', align: 'left', rank: 0 },
  { title: 'BY ENGINE', align: 'right', rank: 0 },
  { title: 'BY CPU', align: 'right', rank: 0 },
  { title: 'IN FLIGHT', align: 'right', rank: 3 },
  { title: 'CHANNEL FULL', align: 'right', rank: 4 },
  { title: 'RING FULL', align: 'right', rank: 4 },
  { title: 'DROPPED', align: 'right', rank: 4 },
];

/** What the section is made of: queues and engines now, and copies per second of one queue. */
export interface AsyncView {
  readonly async: AsyncSnapshot;
  readonly columns: number;
  readonly style: Style;
  rateOf(read: (ring: AsyncRingSnapshot) => number, ring: AsyncRingSnapshot): number;
}

const orNothing = (count: number): string => (count === 0 ? '' : formatCount(count));

function ringRow({ style, rateOf }: AsyncView, ring: AsyncRingSnapshot): string[] {
  return [
    `${style.bold(ring.port)} ${ring.pair} ${ring.sends ? 'send' : 'receive'}`,
    String(ring.lcore),
    ring.engine < 0 ? 'none' : String(ring.engine),
    formatPacketRate(rateOf(({ offloaded }) => offloaded, ring)),
    formatPacketRate(rateOf(({ copied }) => copied, ring)),
    formatCount(ring.inFlight),
    orNothing(ring.full),
    orNothing(ring.ringFull),
    ring.dropped === 0 ? '' : style.yellow(formatCount(ring.dropped)),
  ];
}

/** How the engines are doing, and the work that is deferred. */
function summaryLines({ async, style }: AsyncView): string[] {
  const engines = async.engines.map(({ completed, failed, isShared, contended, fault }, index) => {
    const parts = [`${formatCount(completed)} copies`];
    if (failed > 0) parts.push(style.yellow(`${formatCount(failed)} by the CPU in its place`));
    if (isShared) parts.push(`shared, ${formatCount(contended)} waits`);
    if (fault !== undefined) parts.push(style.red(`fault: ${fault}`));
    return `engine  ${index}: ${parts.join(', ')}`;
  });
  const works = async.lcores.flatMap(({ deferred, done, inProgress, full }, lcore) =>
    deferred === 0
      ? []
      : [
          `work    lcore ${lcore}: ${formatCount(deferred)} deferred, ${formatCount(done)} done, ${formatCount(inProgress)} in progress, ${formatCount(full)} full`,
        ],
  );
  return [...engines, ...works];
}

/** A line for each queue of a guest, and one for each engine and for each lcore's deferred work. */
export function renderAsync(view: AsyncView): string[] {
  const { async, columns, style } = view;
  const rows = async.rings.map((ring) => ringRow(view, ring));
  return [
    ...renderTable(COLUMNS, rows, columns, style),
    `async   ${async.integration}, assigned by ${async.assignment}, from ${async.threshold} bytes on`,
    ...summaryLines(view),
    '',
  ];
}
