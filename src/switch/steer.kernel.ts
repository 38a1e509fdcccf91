/** Applies the steering rules to a packet that came from port `from`. True when a rule took it. */
export function steer(_path: u32, _slot: u32, _from: u32): bool {
  return false;
}
