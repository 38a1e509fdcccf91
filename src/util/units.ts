/** Numbers with a unit as people write them: sizes, times, rates. A plain number is in the base unit. */

/** Decimal units as SI has them, binary ones as IEC 80000-13 has them. */
const BYTE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

const SECOND_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  us: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
};

const RATE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  pps: 1,
  kpps: 1e3,
  mpps: 1e6,
  gpps: 1e9,
};

/** `text` as a number times what its unit stands for; undefined when either is unknown. */
function scaled(text: string | number, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof text === 'number') return Number.isFinite(text) ? text : undefined;
  const match = /^(\d{1,15}(?:\.\d{1,9})?)\s?([a-z]{0,4})$/i.exec(text.trim());
  if (match === null) return undefined;
  const [, digits = '', unit = ''] = match;
  const scale = Object.hasOwn(units, unit.toLowerCase()) ? units[unit.toLowerCase()] : undefined;
  if (scale === undefined) return undefined;
  const value = Number(digits) * scale;
  // 250ms must be 0.25, not 0.25 and a rounding error: twelve digits are more than anybody writes.
  return Number(value.toPrecision(12));
}

/** Bytes in `2MiB`, `512KiB`, `1GB`, `4096`; undefined when it is none, or not a whole number of bytes. */
export function parseBytes(text: string | number): number | undefined {
  const value = scaled(text, BYTE_UNITS);
  return value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** Seconds in `10s`, `250ms`, `5m`, `1h`, `20us`, `10`; undefined when it is none. */
export function parseDuration(text: string | number): number | undefined {
  const value = scaled(text, SECOND_UNITS);
  return value !== undefined && value >= 0 ? value : undefined;
}

/** Packets per second in `1Mpps`, `500kpps`, `100pps`, `100`; undefined when it is none. */
export function parseRate(text: string | number): number | undefined {
  const value = scaled(text, RATE_UNITS);
  return value !== undefined && value >= 0 ? value : undefined;
}

/** A probability in `0.01` or `1%`; undefined when it is none or not from 0 to 1. */
export function parseProbability(text: string | number): number | undefined {
  const percent = typeof text === 'string' && text.trim().endsWith('%');
  const value = percent ? scaled(text.trim().slice(0, -1), { '': 0.01 }) : scaled(text, { '': 1 });
  return value !== undefined && value >= 0 && value <= 1 ? value : undefined;
}
