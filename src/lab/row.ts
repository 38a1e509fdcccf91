/**
 * Where a figure was taken: on one core, on two that are near or far, on two that drifted apart meanwhile, or on
 * several as the system deals them; or in virtual time, which is the same on every machine.
 */
export type State = 'one core' | 'near' | 'far' | 'moved' | 'several cores' | 'virtual time' | 'not measured';

/** One measured figure, with its peer's beside it. */
export interface Row {
  readonly name: string;
  /** Median of the windows; null when it could not be measured, and `note` says why. */
  readonly value: number | null;
  readonly unit: string;
  /** Quantiles of single samples, in ns; what a sample is, the bench's description says. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly p999: number | null;
  /** Name of what it is compared with; null when there is nothing to compare with. */
  readonly peer: string | null;
  readonly peerValue: number | null;
  /** `value` over `peerValue`. Ours is faster below 1 where the unit is a time, above 1 where it is a rate. */
  readonly ratio: number | null;
  readonly state: State;
  /** Why something is missing; empty when nothing is. */
  readonly note: string;
}

/** What a bench gives of a row; the peer's part is joined to it. */
export type Figure = Pick<Row, 'name' | 'value' | 'unit' | 'p50' | 'p99' | 'p999' | 'state' | 'note'>;

/** The row of a figure without a peer. */
export function rowOf(figure: Figure, peer: { name: string; value: number | null; note: string } | null): Row {
  const peerValue = peer?.value ?? null;
  return {
    ...figure,
    peer: peer?.name ?? null,
    peerValue,
    ratio: peerValue === null || figure.value === null ? null : figure.value / peerValue,
    note: [figure.note, peer?.note ?? ''].filter((note) => note !== '').join('; '),
  };
}

/** The rows as a table for people. */
export function formatRows(rows: readonly Row[]): string {
  const number = (value: number | null, digits = 2): string => (value === null ? '-' : value.toFixed(digits));
  const header = ['name', 'value', 'unit', 'p50', 'p99', 'p999', 'peer', 'value', 'ratio', 'state', 'note'];
  const cells = rows.map((row) => [
    row.name,
    number(row.value),
    row.unit,
    number(row.p50, 0),
    number(row.p99, 0),
    number(row.p999, 0),
    row.peer ?? '-',
    number(row.peerValue),
    number(row.ratio),
    row.state,
    row.note,
  ]);
  const widths = header.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)));
  return [header, ...cells]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
