import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { alarmArmer, Poller, requireSockets, requireSys, sysAvailable } from '#build/sys/index.js';

const folder = mkdtempSync(join(tmpdir(), 'ringway-poller-'));
afterAll(() => rmSync(folder, { recursive: true }));
const isHere = sysAvailable();

/** Waits for something that another thread does. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) await setTimeout(2);
  expect(condition()).toBe(true);
}

test.skipIf(!isHere)('who watches a socket is called once at a time, until all is read and when it ends', async () => {
  const { listen, connect, accept, send, receive } = requireSockets('the test');
  const { closeFd } = requireSys('the test');
  const poller = new Poller(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }), 'the test');
  const path = join(folder, 'a.sock');
  const listener = listen(path);
  const client = connect(path) as number;
  const server = accept(listener) as number;
  let [calls, running, closed, bytes] = [0, 0, false, 0];
  const unwatch = poller.watch(server, async () => {
    expect(++running).toBe(1);
    calls++;
    // One byte a call: it is called again for the rest.
    const received = receive(server, 1);
    if (received === 'closed') closed = true;
    else if (received !== 'again') bytes += received.data.length;
    await setTimeout(3);
    running--;
  });
  await setTimeout(20);
  expect(calls).toBe(0);
  send(client, Uint8Array.of(1, 2, 3));
  await until(() => bytes === 3);
  closeFd(client);
  await until(() => closed);
  unwatch();
  await setTimeout(10);
  const before = calls;
  await setTimeout(20);
  expect(calls).toBe(before);
  await poller.close();
  for (const fd of [server, listener]) closeFd(fd);
});

test.skipIf(!isHere)('an eventfd rings a bell each time, and only of who sleeps', async () => {
  const { eventfd, signal } = requireSockets('the test');
  const { closeFd } = requireSys('the test');
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const words = new Int32Array(memory.buffer);
  const [doorbell, parked] = [32, 33];
  const poller = new Poller(memory, 'the test');
  const event = eventfd();
  const end = poller.wake(event, { doorbell, parked });
  signal(event);
  await setTimeout(30);
  expect(words[doorbell]).toBe(0);
  words[parked] = 1;
  for (let i = 0; i < 3; i++) {
    Atomics.store(words, doorbell, 0);
    // Nobody reads the count, and each write rings all the same.
    signal(event);
    await until(() => Atomics.load(words, doorbell) === 1);
  }
  end();
  Atomics.store(words, doorbell, 0);
  signal(event);
  await setTimeout(30);
  expect(words[doorbell]).toBe(0);
  await poller.close();
  closeFd(event);
});

test.skipIf(!isHere)(
  'an alarm rings once when it is armed, at once when there is something already, and not when it is disarmed',
  async () => {
    const { eventfd, signal } = requireSockets('the test');
    const { closeFd } = requireSys('the test');
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const words = new Int32Array(memory.buffer);
    const [doorbell, parked] = [32, 33];
    const poller = new Poller(memory, 'the test');
    const event = eventfd();
    const { alarm, end } = poller.alarm(event, { doorbell, parked });
    const { arm, disarm } = alarmArmer();
    words[parked] = 1;
    const rings = async (): Promise<boolean> => {
      await setTimeout(30);
      return Atomics.exchange(words, doorbell, 0) === 1;
    };
    // What epoll knows, it is told of whenever something happens to it.
    const known = (): string => readFileSync(`/proc/self/fdinfo/${alarm.epoll}`, 'utf8');
    const isKnown = (): boolean => new RegExp(`tfd: +${event} `).test(known());
    signal(event);
    expect(await rings()).toBe(false);
    for (let round = 0; round < 2; round++) {
      expect(isKnown()).toBe(false);
      arm(alarm);
      await until(() => Atomics.load(words, doorbell) === 1);
      Atomics.store(words, doorbell, 0);
      signal(event);
      expect(await rings()).toBe(false);
      disarm(alarm);
      signal(event);
      expect(await rings()).toBe(false);
    }
    arm(alarm);
    expect(await rings()).toBe(true);
    end();
    signal(event);
    expect(await rings()).toBe(false);
    await poller.close();
    closeFd(event);
  },
);

test.skipIf(!isHere)('what cannot be waited for is refused', async () => {
  const { memfdCreate, closeFd } = requireSys('the test');
  const poller = new Poller(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }), 'the test');
  const file = memfdCreate('file', 4096, { seal: false });
  expect(() => poller.watch(file, () => {})).toThrow(/epoll_ctl\(ADD \d+\): EPERM/);
  closeFd(file);
  await poller.close();
});
