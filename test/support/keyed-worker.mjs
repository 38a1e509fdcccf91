// The handlers of the pool's tests: each message says what is to become of it.
const now = () => performance.timeOrigin + performance.now();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function grow() {
  const kept = [];
  for (;;) kept.push(new Array(1e6).fill(kept.length));
}

const deeds = {
  echo: () => undefined,
  sleep: ({ ms }) => sleep(ms),
  micro: async () => undefined,
  spin({ ms }) {
    for (const end = now() + ms; now() < end; );
  },
  fail({ text }) {
    throw new TypeError(text);
  },
  reject: async ({ text }) => {
    await sleep(1);
    throw new TypeError(text);
  },
  exit: ({ deaths }, { attempt }) => (attempt <= deaths ? process.exit(7) : undefined),
  async exitLater({ deaths, ms }, { attempt }) {
    await sleep(ms);
    if (attempt <= deaths) process.exit(7);
  },
  async throwLater({ deaths }, { attempt }) {
    if (attempt > deaths) return;
    setTimeout(() => {
      throw new RangeError('thrown by a timer');
    });
    await sleep(10_000);
  },
  grow: ({ deaths }, { attempt }) => (attempt <= deaths ? grow() : undefined),
  /** The result is what ends the thread, when it is written. */
  exitWritten: ({ deaths }, { attempt }) => ({ toJSON: () => (attempt <= deaths ? process.exit(7) : 'written') }),
  large: ({ bytes }) => 'x'.repeat(bytes),
  odd: () => 5n,
};

export default function handle(message, context) {
  const from = now();
  const told = (value) => value ?? { ...message, ...context, from, to: now() };
  const value = deeds[message.deed ?? 'echo'](message, context);
  return value instanceof Promise ? value.then(told) : told(value);
}
