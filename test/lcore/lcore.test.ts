import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { RingwayError } from 'ringway/memory';
import { afterEach, expect, test } from 'vitest';
import type { IdleStrategy } from '#build/lcore/idle.js';
import { ringDoorbell } from '#build/lcore/idle.js';
import {
  LCORE_BUSY_NS,
  LCORE_DOORBELL,
  LCORE_EMPTY_POLLS,
  LCORE_PACKETS,
  LCORE_PARKED,
  LCORE_POLLS,
  LCORE_RUNNING,
  LCORE_STATE,
  LCORE_STOPPED,
} from '#build/lcore/layout.js';
import { allocateLcore, type Lcore, prepareLcore, startLcore } from '#build/lcore/lcore.js';
import { sysAvailable } from '#build/sys/index.js';
import { readCounter } from '#build/telemetry/counters.js';
import { testArena } from '../support/arena.ts';

const MODULE = new URL('../support/lcore-task.mjs', import.meta.url);
/** Words that a task shares with the test, as in `lcore-task.mjs`. */
const [WORK, POLLS, DIE, BACKWARDS, SLEPT, STALE] = [0, 1, 2, 3, 4, 5] as const;

const started: Lcore[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((lcore) => lcore.terminate()));
});

interface Started {
  readonly lcore: Lcore;
  readonly words: Int32Array;
  readonly events: unknown[];
  word(offset: number): number;
  counter(offset: number): number;
  wake(): void;
}

async function start(options: { idle?: IdleStrategy; module?: URL; data?: object } = {}): Promise<Started> {
  const arena = testArena(1 << 20);
  const address = allocateLcore(arena, 3, 0, 0);
  const at = arena.allocate('words', 64) >>> 2;
  const words = arena.i32.subarray(at, at + 16);
  const events: unknown[] = [];
  const lcore = await startLcore(arena, address, {
    index: 3,
    module: options.module ?? MODULE,
    data: { words: at * 4, ...options.data },
    idle: options.idle ?? 'park',
    onEvent: (event) => events.push(event),
  });
  started.push(lcore);
  return {
    lcore,
    words,
    events,
    word: (offset) => Atomics.load(arena.i32, (address + offset) >>> 2),
    counter: (offset) => readCounter(arena, address + offset),
    wake: () => ringDoorbell(arena.i32, (address + LCORE_DOORBELL) >>> 2, (address + LCORE_PARKED) >>> 2),
  };
}

test('an lcore polls, answers messages in order, sends events, and ends with what its task returned', async () => {
  const { lcore, words, events, word } = await start();
  expect(word(LCORE_STATE)).toBe(LCORE_RUNNING);
  const answers = await Promise.all(['later', 'a', 'notify', 'b'].map((message) => lcore.call(message)));
  expect(answers).toMatchObject(['later', 'a', 'notify', 'b'].map((message) => ({ index: 3, message })));
  expect(Math.abs((answers[1] as { seconds: number }).seconds - Date.now() / 1000)).toBeLessThan(600);
  expect(events).toEqual([{ from: 3 }]);
  await expect.poll(() => Atomics.load(words, POLLS)).toBeGreaterThan(0);
  expect(await lcore.stop()).toBe('stopped 3');
  await lcore.ended;
  expect(word(LCORE_STATE)).toBe(LCORE_STOPPED);
  const polls = Atomics.load(words, POLLS);
  expect(Atomics.load(words, POLLS)).toBe(polls);
});

test('what a task throws in its answer rejects the call with its code, and the lcore goes on', async () => {
  const { lcore } = await start();
  await expect(lcore.call('throw')).rejects.toThrow('no, thank you');
  const refusal = await lcore.call('refuse').catch((error) => error);
  expect(refusal).toBeInstanceOf(RingwayError);
  expect(refusal).toMatchObject({ code: 'BAD_ARGUMENT', message: 'rate: 7 is odd' });
  await expect(lcore.call('throw text')).rejects.toThrow('just text');
  await expect(lcore.call('function')).rejects.toThrow(/could not be cloned/);
  expect(await lcore.call('still there')).toMatchObject({ message: 'still there' });
});

test.each([
  ['error', /^cannot start today$/, undefined],
  ['refusal', /^ports\.x: no such thing$/, 'BAD_CONFIG'],
  ['exit', /^lcore 3 ended by itself: exit code 3$/, 'LCORE_DIED'],
] as const)('a task that does not start (%s) rejects with the reason', async (fail, reason, code) => {
  const refusal = await start({ data: { fail } }).catch((error) => error);
  expect(refusal).toBeInstanceOf(code === undefined ? Error : RingwayError);
  expect(refusal.message).toMatch(reason);
  expect(refusal.code).toBe(code);
});

test('a module that is missing or has no such export rejects', async () => {
  await expect(start({ module: new URL('./none.mjs', import.meta.url) })).rejects.toThrow(/Cannot find module/);
  await expect(start({ module: new URL('../support/arena.mjs', import.meta.url) })).rejects.toThrow();
});

const moduleOf = (text: string): URL => new URL(`data:text/javascript,${encodeURIComponent(text)}`);

test('a thread that was started ahead becomes the next lcore of its module, and of no other', async () => {
  const module = (name: string): URL =>
    moduleOf(`
      import { threadId } from 'node:worker_threads';
      export default () => ({ poll: () => 0, handle: () => ['${name}', threadId], stop() {} });
    `);
  prepareLcore(module('a'));
  const answers = [];
  for (const name of ['b', 'a', 'a']) answers.push(await (await start({ module: module(name) })).lcore.call('who'));
  const [b, first, second] = answers as [string, number][];
  expect([b?.[0], first?.[0], second?.[0]]).toEqual(['b', 'a', 'a']);
  expect(first?.[1]).toBeLessThan(b?.[1] ?? 0);
  expect(second?.[1]).toBeGreaterThan(b?.[1] ?? 0);
});

test.each([
  ['throw new Error("no, today");', /no, today/],
  ['process.exit(3);', /ended by itself: exit code 3/],
])('a thread that was started ahead and fails (%s) tells who starts it, whenever that is', async (text, reason) => {
  const module = moduleOf(text);
  prepareLcore(module);
  await expect(start({ module })).rejects.toThrow(reason);
  prepareLcore(module);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await expect(start({ module })).rejects.toThrow(reason);
});

test.each([
  [1, /^lcore 3 ended by itself: Error: poll went wrong$/],
  [2, /^lcore 3 ended by itself: exit code 7$/],
])('an lcore that dies in a poll (%i) rejects what is asked, and what will be', async (how, reason) => {
  const { lcore, words } = await start({ idle: 'yield' });
  const asked = lcore.call('later');
  Atomics.store(words, DIE, how);
  await expect(lcore.ended).rejects.toMatchObject({ code: 'LCORE_DIED', message: expect.stringMatching(reason) });
  await asked.catch((error) => expect(error).toMatchObject({ code: 'LCORE_DIED' }));
  await expect(lcore.call('a')).rejects.toMatchObject({ code: 'LCORE_DIED' });
  await expect(lcore.stop()).rejects.toMatchObject({ code: 'LCORE_DIED' });
});

test('a task that cannot stop is an lcore that died', async () => {
  const { lcore } = await start({ data: { fail: 'stop' } });
  await expect(lcore.stop()).rejects.toMatchObject({
    code: 'LCORE_DIED',
    message: expect.stringMatching(/cannot stop/),
  });
});

test('an lcore that was stopped answers no more, and does not wait for what its task left open', async () => {
  const { lcore } = await start({ data: { linger: true } });
  expect(await lcore.stop()).toBe('stopped 3');
  await expect(lcore.call('a')).rejects.toMatchObject({ code: 'LCORE_DIED', message: 'lcore 3 was stopped' });
});

test('terminate ends a thread wherever it is', async () => {
  const { lcore } = await start({ idle: 'spin' });
  const asked = lcore.call('later').catch((error) => error);
  await lcore.terminate();
  await lcore.ended;
  await asked;
  await expect(lcore.call('a')).rejects.toMatchObject({ code: 'LCORE_DIED' });
});

test.each(['spin', 'yield', 'park'] as const)('%s: work, polls and packets are counted', async (idle) => {
  const { lcore, words, counter, wake } = await start({ idle });
  Atomics.store(words, WORK, 5000);
  wake();
  await expect.poll(() => Atomics.load(words, WORK)).toBe(0);
  await lcore.stop();
  expect(counter(LCORE_PACKETS)).toBe(5000);
  const polls = counter(LCORE_POLLS);
  expect(polls).toBe(Atomics.load(words, POLLS));
  expect(polls - counter(LCORE_EMPTY_POLLS)).toBe(Math.ceil(5000 / 32));
  expect(counter(LCORE_BUSY_NS)).toBeGreaterThan(0);
  expect(Atomics.load(words, BACKWARDS)).toBe(0);
});

test('an lcore with nothing to do polls seldom, unless it spins', async () => {
  const all = await Promise.all((['spin', 'yield', 'park'] as const).map((idle) => start({ idle })));
  const polls = (): number[] => all.map(({ words }) => Atomics.load(words, POLLS));
  await expect.poll(() => Math.min(...polls())).toBeGreaterThan(200);
  const before = polls();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const [spin, yields, park] = polls().map((n, i) => n - (before[i] as number)) as [number, number, number];
  expect(spin).toBeGreaterThan(5 * yields);
  expect(spin).toBeGreaterThan(20 * park);
});

test('a parked lcore says so, and looks again when its doorbell rings', async () => {
  const { words, word, wake } = await start({ idle: 'park' });
  for (let round = 0; round < 20; round++) {
    await expect.poll(() => word(LCORE_PARKED)).toBe(1);
    Atomics.store(words, WORK, 32);
    wake();
    await expect.poll(() => Atomics.load(words, WORK)).toBe(0);
    await expect.poll(() => word(LCORE_DOORBELL)).toBe(0);
  }
});

test('an lcore that slept knows what time it is before it polls', async () => {
  const { words } = await start({ idle: 'park' });
  await expect.poll(() => Atomics.load(words, SLEPT), { timeout: 20_000 }).toBeGreaterThan(50);
  // Not 0: the system may stop the thread between the clock and the poll.
  expect(Atomics.load(words, STALE)).toBeLessThan(Atomics.load(words, SLEPT) / 2);
});

function pinLcore(cpu: number, flags: string[] = []): { code?: string; message?: string; stopped?: string } {
  const script = fileURLToPath(new URL('../support/pin-lcore.mjs', import.meta.url));
  return JSON.parse(execFileSync(process.execPath, [...flags, script, String(cpu)], { encoding: 'utf8' }));
}

test('pinning is refused without koffi, with what is missing', () => {
  const hide = fileURLToPath(new URL('../support/hide-koffi.mjs', import.meta.url));
  expect(pinLcore(0, ['--import', hide])).toEqual({
    name: 'RingwayError',
    code: 'UNSUPPORTED',
    message: expect.stringMatching(/^pinning lcore 3?0 to cpu 0 needs Linux and the optional dependency koffi/),
  });
});

test.skipIf(!sysAvailable())('a processor that is not there is refused', () => {
  expect(pinLcore(1023)).toMatchObject({ code: 'SYSTEM', message: expect.stringMatching(/cpu 1023.*EINVAL/) });
  expect(pinLcore(5000)).toMatchObject({ code: 'BAD_ARGUMENT', message: 'pin: cpu 5000, must be from 0 to 1023' });
});
