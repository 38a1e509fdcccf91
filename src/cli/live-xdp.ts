import type { PortSnapshot, XdpSnapshot } from '../telemetry/snapshot.ts';
import { formatPacketRate } from './format.ts';
import { type Column, renderTable } from './table.ts';
import type { Style } from './terminal.ts';

const COLUMNS: readonly Column[] = [
  { title: 'XDP', align: 'left', rank: 0 },
  { title: 'PROGRAM', align: 'left', rank: 1 },
  { title: 'PASS', align: 'right', rank: 0 },
  { title: 'DROP', align: 'right', rank: 0 },
  { title: 'TX', align: 'right', rank: 2 },
  { title: 'REDIRECT', align: 'right', rank: 2 },
  { title: 'ABORTED', align: 'right', rank: 3 },
];

/** What the section is made of: the ports, and counts per second of something that a port's program said. */
export interface XdpView {
  readonly ports: readonly PortSnapshot[];
  readonly columns: number;
  readonly style: Style;
  rateOf(read: (xdp: XdpSnapshot) => number, port: string): number;
}

/** A line for each port with an XDP program; none when no port has one. */
export function renderXdp({ ports, columns, style, rateOf }: XdpView): string[] {
  const rows = ports.flatMap(({ name, xdp }) => {
    if (xdp === undefined) return [];
    const rate = (read: (given: XdpSnapshot) => number): string => formatPacketRate(rateOf(read, name));
    const aborted = rateOf((given) => given.aborted, name);
    return [
      [
        style.bold(name),
        `${xdp.object}/${xdp.program}`,
        rate((given) => given.pass),
        rate((given) => given.drop),
        rate((given) => given.tx),
        rate((given) => given.redirect),
        aborted > 0 ? style.red(formatPacketRate(aborted)) : formatPacketRate(0),
      ],
    ];
  });
  return rows.length === 0 ? [] : [...renderTable(COLUMNS, rows, columns, style), ''];
}
