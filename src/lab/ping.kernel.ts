import { LAB_PING } from './layout.ts';

/** Turns of waiting (a few ns each) after which the other thread is taken for gone. */
const PATIENCE: u32 = 1 << 30;

/** Waits until the word is `value`. Returns false when it never is. */
function awaitWord(lab: u32, value: u32): bool {
  for (let i: u32 = 0; i < PATIENCE; i++) if (atomic.load<u32>(lab, LAB_PING) === value) return true;
  return false;
}

/** Sends `rounds` pings from the word's value `from` (even) on, each awaiting its pong. Returns the rounds that came back. */
export function ping(lab: u32, from: u32, rounds: u32): u32 {
  for (let i: u32 = 0; i < rounds; i++) {
    atomic.store<u32>(lab, from + 2 * i + 1, LAB_PING);
    if (!awaitWord(lab, from + 2 * i + 2)) return i;
  }
  return rounds;
}

/** Answers `rounds` pings. Returns how many there were. */
export function pong(lab: u32, from: u32, rounds: u32): u32 {
  for (let i: u32 = 0; i < rounds; i++) {
    if (!awaitWord(lab, from + 2 * i + 1)) return i;
    atomic.store<u32>(lab, from + 2 * i + 2, LAB_PING);
  }
  return rounds;
}
