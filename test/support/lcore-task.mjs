// A task for lcores under test. `data.words` is the address of words that it shares with the test: how much work its
// polls are to find, and how many polls and how much work there was.

import { RingwayError } from 'ringway/memory';
import { LCORE_NANOSECONDS, LCORE_SECONDS } from '#build/lcore/layout.js';

const [WORK, POLLS, DIE, BACKWARDS, SLEPT, STALE] = [0, 1, 2, 3, 4, 5];

export default async function start({ arena, index, address, data, notify }) {
  if (data.fail === 'error') throw new Error('cannot start today');
  if (data.fail === 'refusal') throw new RingwayError('BAD_CONFIG', 'ports.x: no such thing');
  if (data.fail === 'exit') process.exit(3);
  const words = arena.i32.subarray(data.words >>> 2, (data.words >>> 2) + 16);
  const clock = arena.u32.subarray(address >>> 2);
  let before = 0;
  let left = 0;
  return {
    poll() {
      Atomics.add(words, POLLS, 1);
      if (words[DIE] === 1) throw new Error('poll went wrong');
      if (words[DIE] === 2) process.exit(7);
      const now = clock[LCORE_SECONDS >>> 2] * 1e9 + clock[LCORE_NANOSECONDS >>> 2];
      if (now < before || clock[LCORE_NANOSECONDS >>> 2] > 999_999_999) Atomics.add(words, BACKWARDS, 1);
      before = now;
      // After a pause the lcore's time must be younger than the pause.
      const pauseNs = (performance.now() - left) * 1e6;
      if (left > 0 && pauseNs > 5e5) {
        Atomics.add(words, SLEPT, 1);
        const ageNs = (performance.timeOrigin + performance.now()) * 1e6 - now;
        if (ageNs > pauseNs / 2) Atomics.add(words, STALE, 1);
      }
      left = performance.now();
      if (words[WORK] === 0) return 0;
      const n = Math.min(words[WORK], 32);
      Atomics.sub(words, WORK, n);
      return n;
    },
    async handle(message) {
      if (message === 'throw') throw new Error('no, thank you');
      if (message === 'refuse') throw new RingwayError('BAD_ARGUMENT', 'rate: 7 is odd');
      if (message === 'throw text') throw 'just text';
      if (message === 'function') return () => {};
      if (message === 'notify') notify({ from: index });
      if (message === 'later') await new Promise((resolve) => setTimeout(resolve, 5));
      return { index, message, seconds: clock[LCORE_SECONDS >>> 2] };
    },
    stop() {
      if (data.fail === 'stop') throw new Error('cannot stop');
      if (data.linger) setInterval(() => {}, 1000);
      return `stopped ${index}`;
    },
  };
}
