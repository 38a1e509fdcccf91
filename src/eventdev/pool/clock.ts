/** Microseconds since 1970, the same in all threads but for what their origins differ by. */
export function clock(): number {
  return (performance.timeOrigin + performance.now()) * 1000;
}
