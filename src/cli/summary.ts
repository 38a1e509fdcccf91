import type { Snapshot } from '../telemetry/snapshot.ts';
import { formatBitRate, formatCount, formatDrops, formatPacketRate, formatSeconds } from './format.ts';
import { type Column, renderTable } from './table.ts';
import type { Style } from './terminal.ts';

/** A port over the whole run. */
export interface PortSummary {
  readonly name: string;
  readonly type: string;
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
  readonly drops: Readonly<Record<string, number>>;
  /** Averages over the run, per second. */
  readonly rxPacketsPerSecond: number;
  readonly txPacketsPerSecond: number;
  readonly fault?: string;
}

/** A whole run, as `run --json` prints it last. */
export interface Summary {
  readonly name: string;
  readonly seconds: number;
  readonly ports: readonly PortSummary[];
  readonly received: number;
  /** Made by floods, mirrors and injected duplicates. */
  readonly copied: number;
  readonly sent: number;
  readonly dropped: number;
  /** Became part of others; missing when none did. */
  readonly merged?: number;
  readonly drops: Readonly<Record<string, number>>;
  /** received + copied - sent - dropped - merged: 0 unless packets were lost track of, or are still on their way. */
  readonly missing: number;
}

/** The sums and averages of the last snapshot of a run. */
export function summarise(snapshot: Snapshot): Summary {
  const seconds = snapshot.uptimeSeconds;
  const perSecond = (count: number): number => (seconds > 0 ? count / seconds : 0);
  const ports = snapshot.ports.map((port): PortSummary => {
    const { name, type, rxPackets, rxBytes, txPackets, txBytes, drops, fault } = port;
    const rates = { rxPacketsPerSecond: perSecond(rxPackets), txPacketsPerSecond: perSecond(txPackets) };
    const common = { name, type, rxPackets, rxBytes, txPackets, txBytes, drops, ...rates };
    return fault === undefined ? common : { ...common, fault };
  });
  const { totals, drops } = snapshot;
  const { received, copied, sent, dropped, merged = 0 } = totals;
  const missing = received + copied - sent - dropped - merged;
  return { name: snapshot.name, seconds, ports, ...totals, drops, missing };
}

const COLUMNS: readonly Column[] = [
  { title: 'PORT', align: 'left', rank: 0 },
  { title: 'TYPE', align: 'left', rank: 1 },
  { title: 'RECEIVED', align: 'right', rank: 0 },
  { title: 'AVERAGE', align: 'right', rank: 3 },
  { title: '', align: 'right', rank: 2 },
  { title: 'SENT', align: 'right', rank: 0 },
  { title: 'AVERAGE', align: 'right', rank: 3 },
  { title: '', align: 'right', rank: 2 },
  { title: 'DROPPED', align: 'left', rank: 4 },
];

/** The equation that a run ends with, and how far it is off. */
function conservation({ received, copied, sent, dropped, merged = 0, missing }: Summary, style: Style): string {
  const left = `received ${formatCount(received)}${copied > 0 ? ` + copied ${formatCount(copied)}` : ''}`;
  const right = `sent ${formatCount(sent)} + dropped ${formatCount(dropped)}${merged > 0 ? ` + merged ${formatCount(merged)}` : ''}`;
  if (missing === 0) return `${left} = ${right}`;
  const where = missing > 0 ? 'not accounted for' : 'too many';
  return style.red(`${left} ≠ ${right}: ${formatCount(Math.abs(missing))} ${where}`);
}

/** The lines of the table at the end of a run, and of `stats`. */
export function renderSummary(summary: Summary, columns: number, style: Style): string[] {
  const { seconds, ports } = summary;
  const bits = (bytes: number): string => formatBitRate(seconds > 0 ? bytes / seconds : 0);
  const rows = ports.map((port) => [
    style.bold(port.name),
    port.type,
    formatCount(port.rxPackets),
    formatPacketRate(port.rxPacketsPerSecond),
    bits(port.rxBytes),
    formatCount(port.txPackets),
    formatPacketRate(port.txPacketsPerSecond),
    bits(port.txBytes),
    formatDrops(port.drops),
  ]);
  const drops = formatDrops(summary.drops);
  return [
    `${style.bold(summary.name)}  ${formatSeconds(seconds)}`,
    '',
    ...renderTable(COLUMNS, rows, columns, style),
    '',
    conservation(summary, style),
    ...(drops === '' ? [] : [`dropped: ${drops}`]),
    ...ports.flatMap(({ name, fault }) => (fault === undefined ? [] : [style.red(`port ${name}: ${fault}`)])),
  ];
}
