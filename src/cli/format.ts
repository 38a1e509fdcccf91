/** Numbers as people read them. */

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P'];

/** Three digits and a prefix: `0`, `999`, `1.23 M`, `45.6 k`; the unit follows. */
function scaled(value: number): string {
  if (!Number.isFinite(value)) return '- ';
  let rest = value;
  let step = 0;
  // 999.5 would be printed as 1000.
  while (rest >= 999.5 && step < PREFIXES.length - 1) {
    rest /= 1000;
    step++;
  }
  const digits = step === 0 ? (rest < 9.95 && rest % 1 !== 0 ? 1 : 0) : rest < 9.995 ? 2 : rest < 99.95 ? 1 : 0;
  return `${rest.toFixed(digits)} ${PREFIXES[step]}`;
}

/** `1.23 Mpps`. */
export function formatPacketRate(packetsPerSecond: number): string {
  return `${scaled(packetsPerSecond)}pps`;
}

/** `9.87 Gbit/s` of bytes per second. */
export function formatBitRate(bytesPerSecond: number): string {
  return `${scaled(bytesPerSecond * 8)}bit/s`;
}

/** `1,234,567`. */
export function formatCount(count: number): string {
  return Number.isFinite(count) ? Math.round(count).toLocaleString('en-US') : '-';
}

/** `42 %`. `part`: 0 to 1. */
export function formatPercent(part: number): string {
  return `${(part * 100).toFixed(part > 0 && part < 0.0995 ? 1 : 0)} %`;
}

/** `0.25 s`, `12.5 s`, `3:05`, `1:02:03`. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-';
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  const pad = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/** Drops as `tx-full 12, storm 3`, the most first; empty when there are none. */
export function formatDrops(drops: Readonly<Record<string, number>>): string {
  return Object.entries(drops)
    .filter(([, count]) => count > 0)
    .sort((a, b) => b[1] - a[1])
    .map(([reason, count]) => `${reason} ${formatCount(count)}`)
    .join(', ');
}
