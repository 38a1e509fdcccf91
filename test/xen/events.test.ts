import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { makeXen } from './support/rig.ts';

test('an event makes the other end pending once, until it is taken', () => {
  const { driver, guest } = makeXen('plain');
  const port = guest.hypervisor.events.allocUnbound(0);
  // Nobody is there yet: it is lost.
  guest.hypervisor.events.send(port);
  const own = driver.hypervisor.events.bindInterdomain(1, port);
  expect(driver.hypervisor.events.takePending(own)).toBe(true);
  expect(driver.hypervisor.events.takePending(own)).toBe(false);
  guest.hypervisor.events.send(port);
  guest.hypervisor.events.send(port);
  expect(driver.hypervisor.events.takePending(own)).toBe(true);
  expect(driver.hypervisor.events.takePending(own)).toBe(false);
  driver.hypervisor.events.send(own);
  expect(guest.hypervisor.events.takePending(port)).toBe(true);
  expect(guest.costs().events).toBe(2);
});

test('a masked port becomes pending, and nobody is called before it is unmasked', () => {
  const { driver, guest } = makeXen('plain');
  const port = guest.hypervisor.events.allocUnbound(0);
  const { events } = driver.hypervisor;
  const own = events.bindInterdomain(1, port);
  let called = 0;
  events.listen(own, () => called++);
  expect([events.dispatch(), events.dispatch(), called]).toEqual([1, 0, 1]);
  events.mask(own);
  guest.hypervisor.events.send(port);
  expect([events.dispatch(), called]).toEqual([0, 1]);
  events.unmask(own);
  expect([events.dispatch(), called]).toEqual([1, 2]);
  events.listen(own, undefined);
  guest.hypervisor.events.send(port);
  expect([events.dispatch(), called]).toEqual([0, 2]);
});

test('only the domain that a port is offered to binds it, and only once', () => {
  const { driver, guest, other } = makeXen('plain', { guest: { ports: 3 } });
  const port = guest.hypervisor.events.allocUnbound(0);
  expect(() => other.hypervisor.events.bindInterdomain(1, port)).toThrow(/does not offer/);
  for (const wrong of [0, 2, 3, -1, 1.5, 2 ** 32 + port, Number.NaN]) {
    expect(() => driver.hypervisor.events.bindInterdomain(1, wrong)).toThrow(/does not offer/);
    // What a kernel would round to a port is not asked: own ports come from nobody else.
    if (wrong >>> 0 !== port) expect(() => guest.hypervisor.events.send(wrong)).toThrow(/no event port/);
    expect(() => guest.hypervisor.events.close(wrong)).toThrow(/no event port/);
  }
  expect(() => driver.hypervisor.events.bindInterdomain(9, port)).toThrow(/no domain 9/);
  expect(() => guest.hypervisor.events.allocUnbound(9)).toThrow(/no domain 9/);
  driver.hypervisor.events.bindInterdomain(1, port);
  expect(() => driver.hypervisor.events.bindInterdomain(1, port)).toThrow(/does not offer/);
  guest.hypervisor.events.allocUnbound(0);
  expect(() => guest.hypervisor.events.allocUnbound(0)).toThrow(/all 2 event ports are in use/);
});

test('a port that closes leaves the other end unbound, for the same domain to bind again', () => {
  const { xen, driver, guest } = makeXen('plain');
  const port = guest.hypervisor.events.allocUnbound(0);
  const own = driver.hypervisor.events.bindInterdomain(1, port);
  driver.hypervisor.events.close(own);
  guest.hypervisor.events.send(port);
  const again = driver.hypervisor.events.bindInterdomain(1, port);
  expect(again).toBe(own);
  driver.hypervisor.events.takePending(again);
  xen.destroyDomain(1);
  driver.hypervisor.events.send(again);
  expect(driver.hypervisor.events.takePending(again)).toBe(false);
});

test('who started events is called on its thread, whichever thread sends', async () => {
  const { arena, xen, driver, guest } = makeXen('plain');
  const port = guest.hypervisor.events.allocUnbound(0);
  const { events } = driver.hypervisor;
  const own = events.bindInterdomain(1, port);
  let called = 0;
  let reached = (): void => {};
  const until = (n: number): Promise<void> =>
    new Promise((resolve) => {
      reached = () => called >= n && resolve();
      reached();
    });
  events.listen(own, () => {
    called++;
    reached();
  });
  const stop = driver.startEvents();
  await until(1);
  guest.hypervisor.events.send(port);
  await until(2);
  const { memory, kernel } = arena.handle;
  const record = arena.region('xen domain 1 record').address;
  const code = `const { memory, kernel, xen, record, port } = require('node:worker_threads').workerData;
    new WebAssembly.Instance(kernel, { env: { memory } }).exports.xenEventSend(xen, record, port);`;
  const workerData = { memory, kernel, xen: xen.address, record, port };
  const worker = new Worker(code, { eval: true, workerData });
  await until(3);
  await worker.terminate();
  stop();
  guest.hypervisor.events.send(port);
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(called).toBe(3);
});
