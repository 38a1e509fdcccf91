import type { Style } from './terminal.ts';

/** A column of a table. */
export interface Column {
  readonly title: string;
  /** Numbers are aligned at their end. */
  readonly align: 'left' | 'right';
  /** The lowest goes first when the terminal is too narrow; 0 never goes. */
  readonly rank: number;
}

const GAP = 2;

/** Characters that `text` takes on a terminal: without the marks of `Style`. */
export function widthOf(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the marks begin with ESC.
  return [...text.replaceAll(/\u001b\[\d+m/g, '')].length;
}

/** `text` in at most `width` characters; marked text is cut only when it has no marks. */
export function clip(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the marks begin with ESC.
  const plain = [...text.replaceAll(/\u001b\[\d+m/g, '')];
  return `${plain.slice(0, Math.max(0, width - 1)).join('')}…`;
}

function pad(text: string, width: number, align: Column['align']): string {
  const space = ' '.repeat(Math.max(0, width - widthOf(text)));
  return align === 'left' ? text + space : space + text;
}

/**
 * The lines of a table: titles, then rows. Columns without any text are left out, and those of the lowest rank while
 * the table is wider than `width`.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
  style: Style,
): string[] {
  const widths = columns.map(({ title }, index) =>
    rows.reduce((most, row) => Math.max(most, widthOf(row[index] ?? '')), rows.length > 0 ? title.length : 0),
  );
  let shown = columns.map((_, index) => index).filter((index) => rows.some((row) => (row[index] ?? '') !== ''));
  const total = (): number => shown.reduce((sum, index) => sum + (widths[index] ?? 0) + GAP, -GAP);
  while (total() > width) {
    const ranks = shown.map((index) => columns[index]?.rank ?? 0).filter((rank) => rank > 0);
    if (ranks.length === 0) break;
    const lowest = Math.min(...ranks);
    shown = shown.filter((index) => columns[index]?.rank !== lowest);
  }
  const line = (cells: readonly string[]): string =>
    clip(
      shown
        .map((index) => pad(cells[index] ?? '', widths[index] ?? 0, columns[index]?.align ?? 'left'))
        .join(' '.repeat(GAP))
        .trimEnd(),
      width,
    );
  return [style.dim(line(columns.map(({ title }) => title))), ...rows.map((row) => line(row))];
}

/** A bar of `width` characters, `part` (0 to 1) of it filled, in eighths. */
export function renderBar(part: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, part)) * width * 8);
  const full = '█'.repeat(Math.floor(eighths / 8));
  const rest = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8] ?? '';
  return (full + rest).padEnd(width, '░');
}
