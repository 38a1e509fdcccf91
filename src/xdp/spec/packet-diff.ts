import { describe } from '../../packet/describe.ts';

const ROW_BYTES = 16;
/** Rows that are shown: more tell nothing new. */
const ROWS_MAX = 8;

const hex = (byte: number | undefined): string => byte?.toString(16).padStart(2, '0') ?? '--';

/**
 * Where two packets differ, in lines for people: what they are, then each row of 16 bytes that is not the same, with the
 * bytes that are not marked. Empty when they are equal.
 * @param names what the two are called.
 */
export function diffPackets(
  expected: Uint8Array,
  got: Uint8Array,
  names: readonly [string, string] = ['expected', 'got'],
): string[] {
  const length = Math.max(expected.length, got.length);
  const differs = (at: number): boolean => at < length && expected[at] !== got[at];
  const places = Array.from({ length }, (_, at) => at).filter(differs);
  const [first] = places;
  if (first === undefined) return [];
  const width = Math.max(...names.map((name) => name.length));
  const [one = '', other = ''] = names.map((name) => name.padEnd(width));
  const bytes = places.length === 1 ? '1 byte differs' : `${places.length} bytes differ`;
  const lines = [
    `${bytes}, the first at offset ${first}`,
    `${one} ${expected.length} bytes: ${describe(expected)}`,
    `${other} ${got.length} bytes: ${describe(got)}`,
  ];
  const rows = [...new Set(places.map((at) => at - (at % ROW_BYTES)))];
  for (const row of rows.slice(0, ROWS_MAX)) {
    const line = (cell: (at: number) => string): string =>
      Array.from({ length: ROW_BYTES }, (_, column) => (row + column < length ? cell(row + column) : ''))
        .join(' ')
        .trimEnd();
    const offset = row.toString(16).padStart(4, '0');
    lines.push(`${offset}  ${one} ${line((at) => hex(expected[at]))}`);
    lines.push(`      ${other} ${line((at) => hex(got[at]))}`);
    lines.push(`${' '.repeat(width + 7)}${line((at) => (differs(at) ? '^^' : '  '))}`);
  }
  if (rows.length > ROWS_MAX) lines.push(`and ${rows.length - ROWS_MAX} more rows of ${ROW_BYTES} bytes`);
  return lines;
}
