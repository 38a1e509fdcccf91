import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GNTST } from 'ringway/xen';
import { expect, test } from 'vitest';
import { sysAvailable } from '#build/sys/index.js';
import { readCosts } from '#build/xen/access.js';
import { createCopyBatch } from '#build/xen/batch.js';
import { Store } from '#build/xen/store.js';
import { DeviceAccess } from '#build/xen/system/device-access.js';
import { DeviceEvents, EVENT_BYTES } from '#build/xen/system/device-events.js';
import { XenDevices } from '#build/xen/system/devices.js';
import { DEVICECALL_BYTES, DEVICES_BASE, DEVICES_BYTES } from '#build/xen/system/layout.js';
import { testArena } from '../../support/arena.ts';
import { serveStore } from './support/xenstored.ts';

const PAGE = 4096;
const AREA_PAGES = 4;
const [GNTDEV, EVTCHN] = [50, 51];
/** Requests as Linux's headers have them: _IOC(_IOC_NONE, 'G' or 'E', number, bytes). */
const request = (type: string, number: number, bytes: number): number =>
  (bytes << 16) | (type.charCodeAt(0) << 8) | number;
const MAP = request('G', 0, 24);
const UNMAP = request('G', 1, 16);
const COPY = request('G', 8, 16);
const BIND_INTERDOMAIN = request('E', 1, 8);
const UNBIND = request('E', 3, 4);
const NOTIFY = request('E', 4, 4);

/** Where the arena would lie in a process: more than 32 bits. */
const BASE = 0x7f12_3456_0000;

/** The device files, as far as their calls can be seen: a log of them, and answers. */
function makeDevices() {
  const arena = testArena(1 << 20);
  const { u8, u16, u32 } = arena;
  const view = new DataView(u8.buffer);
  const log: string[] = [];
  /** References that gntdev maps; others pass its call, and fail in mmap. */
  const good = new Set<number>();
  const refused = new Set<number>();
  const places = new Map<number, number>();
  let nextPlace = 3 * 2 ** 32;
  const events = { waiting: [] as number[], enabled: [] as number[], next: 10 };
  const copies: { segment: number[]; status: number }[] = [];
  let copyResult = 0;
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const control = (fd: number, code: number, at: number): number => {
    if (fd === EVTCHN) {
      log.push(`${code === NOTIFY ? 'notify' : code === UNBIND ? 'unbind' : 'bind'} ${u32[at >>> 2]}`);
      return code === BIND_INTERDOMAIN && (u32[(at >>> 2) + 1] as number) < 100
        ? events.next++
        : code === BIND_INTERDOMAIN
          ? -1
          : 0;
    }
    expect(fd).toBe(GNTDEV);
    if (code === MAP) {
      const [count, , , , domid, ref] = u32.subarray(at >>> 2, (at >>> 2) + 6);
      expect(count).toBe(1);
      if (refused.has(ref as number)) return -1;
      places.set(nextPlace, ref as number);
      log.push(`map ${domid} ${ref}`);
      view.setBigUint64(at + 8, BigInt(nextPlace), true);
      nextPlace += PAGE;
      return 0;
    }
    if (code === UNMAP) {
      log.push(`forget ${places.get(u64(at))} ${u32[(at >>> 2) + 2]}`);
      return places.delete(u64(at)) ? 0 : -1;
    }
    expect(code).toBe(COPY);
    const segments = u64(at + 8) - BASE;
    for (let i = 0; i < (u32[at >>> 2] as number); i++) {
      const segment = segments + i * 24;
      copies.push({ segment: [...u8.subarray(segment, segment + 20)], status: u16[(segment + 20) >>> 1] as number });
      view.setInt16(segment + 20, i === 1 ? GNTST.badGntref : 0, true);
    }
    return copyResult;
  };
  const move = (vectors: number): { at: number; bytes: number } => ({
    at: u64(vectors) - BASE,
    bytes: u64(vectors + 8),
  });
  const devices = {
    base: BASE,
    control,
    errorName: () => 'EINVAL',
    readv(_: number, vectors: number) {
      const { at, bytes } = move(vectors);
      const ports = events.waiting.splice(0, bytes / 4);
      u32.set(ports, at >>> 2);
      return ports.length === 0 ? -1 : ports.length * 4;
    },
    writev(_: number, vectors: number) {
      const { at, bytes } = move(vectors);
      events.enabled.push(...u32.subarray(at >>> 2, (at + bytes) >>> 2));
      return bytes;
    },
  };
  const pages = {
    base: BASE,
    map(offset: number, fd: number, place: number, writable: boolean) {
      expect(fd).toBe(GNTDEV);
      log.push(`mmap ${places.get(place)} at page ${(offset - area) / PAGE}${writable ? '' : ' readonly'}`);
      return good.has(places.get(place) ?? -1);
    },
    unmap(offset: number) {
      log.push(`replace page ${(offset - area) / PAGE}`);
      return true;
    },
  };
  const area = arena.allocate('area', AREA_PAGES * PAGE, PAGE);
  const at = arena.allocate('devices', DEVICES_BYTES + DEVICECALL_BYTES + EVENT_BYTES, PAGE);
  const mapped = arena.allocate('mapped', AREA_PAGES * 4);
  view.setBigUint64(at + DEVICES_BASE, BigInt(BASE), true);
  const calls = at + DEVICES_BYTES;
  const share = {
    name: 'xen',
    gntdev: GNTDEV,
    evtchn: EVTCHN,
    devices: at,
    area,
    areaPages: AREA_PAGES,
    mapped,
    calls,
  };
  const access = new DeviceAccess(arena, share, devices as never, pages as never);
  const channels = new DeviceEvents(arena, devices as never, 'xen', EVTCHN, calls + DEVICECALL_BYTES);
  const takeLog = (): string[] => log.splice(0);
  return {
    ...{ arena, area, access, channels, events, good, refused, places, copies, takeLog },
    costs: () => readCosts(arena, at),
    failCopies: () => {
      copyResult = -1;
    },
  };
}

test('a grant is mapped by a call and an mmap, and goes in the other order', () => {
  const { access, area, good, places, takeLog, costs } = makeDevices();
  good.add(8).add(9);
  const grants = [
    { domid: 3, ref: 8 },
    { domid: 3, ref: 9, readonly: true },
  ];
  const mapped = access.map(grants, area + PAGE);
  expect(mapped).toEqual([
    { status: GNTST.okay, handle: 1, address: area + PAGE },
    { status: GNTST.okay, handle: 2, address: area + 2 * PAGE },
  ]);
  expect(takeLog()).toEqual(['map 3 8', 'mmap 8 at page 1', 'map 3 9', 'mmap 9 at page 2 readonly']);
  expect(access.map(grants, area + PAGE).map((each) => each.status)).toEqual([GNTST.badVirtAddr, GNTST.badVirtAddr]);
  expect(access.unmap([2, 2, 1, 0, AREA_PAGES, -1])).toEqual([
    ...[GNTST.okay, GNTST.badHandle, GNTST.okay],
    ...[GNTST.badHandle, GNTST.badHandle, GNTST.badHandle],
  ]);
  expect(takeLog()).toEqual(['replace page 2', 'forget 9 1', 'replace page 1', 'forget 8 1']);
  expect(places.size).toBe(0);
  expect(costs()).toMatchObject({ maps: 2, unmaps: 2, failed: 6, hypercalls: 10 });
});

test('a grant that cannot be mapped leaves no hole, no mapping and a free page', () => {
  const { access, area, good, refused, places, takeLog } = makeDevices();
  refused.add(7);
  const one = (ref: number, page = 0) => access.map([{ domid: 1, ref }], area + page * PAGE)[0]?.status;
  expect([one(7), one(8)]).toEqual([GNTST.noSpace, GNTST.generalError]);
  expect(takeLog()).toEqual(['map 1 8', 'mmap 8 at page 0', 'replace page 0', 'forget 8 1']);
  expect(places.size).toBe(0);
  good.add(8);
  expect(one(8)).toBe(GNTST.okay);
  expect([one(8, -1), one(8, AREA_PAGES), one(8, 0.5)]).toEqual(Array(3).fill(GNTST.badVirtAddr));
});

test('copies are segments of one call, whose statuses come back', () => {
  const { arena, access, copies, costs, failCopies } = makeDevices();
  const buffer = arena.allocate('buffer', PAGE);
  const batch = createCopyBatch(arena, 'batch', 4);
  const set = (offset: number, length: number): void => {
    for (let i = 0; i < 3; i++) {
      batch.set(i, { source: { domid: 0x102, ref: 0x30405, offset }, target: { address: buffer }, length });
    }
    batch.set(3, { source: { address: buffer }, target: { domid: 5, ref: 6, offset: 1 }, length: 4096 });
  };
  set(0x123, 0x40);
  access.copy(batch, 4);
  expect([0, 1, 2, 3].map((i) => batch.status(i))).toEqual([0, GNTST.badGntref, 0, GNTST.badCopyArg]);
  const local = Buffer.alloc(8);
  local.writeBigUInt64LE(BigInt(BASE + buffer));
  expect(copies[0]?.segment).toEqual([5, 4, 3, 0, 0x23, 1, 2, 1, ...local, 0x40, 0, 1, 0]);
  // The one that would leave the page is one of nothing at its start.
  expect(copies[3]?.segment).toEqual([...local, 6, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0]);
  expect(costs()).toMatchObject({ hypercalls: 1, copies: 4, copyBytes: 0x80, failed: 2 });
  failCopies();
  access.copy(batch, 2);
  expect([0, 1].map((i) => batch.status(i))).toEqual([GNTST.generalError, GNTST.generalError]);
});

test('a port is opened again before its handler runs, and one that nobody hears stays shut', () => {
  const { channels, events, takeLog } = makeDevices();
  const [a, b] = [channels.bindInterdomain(1, 5), channels.bindInterdomain(1, 6)];
  expect(() => channels.bindInterdomain(1, 100)).toThrow(/xen: port 100 of domain 1 cannot be bound: EINVAL/);
  const heard: string[] = [];
  channels.listen(a, () => heard.push(`a, opened: ${events.enabled}`));
  events.waiting.push(a, b, 999);
  expect(channels.dispatch()).toBe(1);
  expect(heard).toEqual([`a, opened: ${a}`]);
  expect(channels.dispatch()).toBe(0);
  channels.listen(b, () => heard.push('b'));
  expect(channels.dispatch()).toBe(1);
  expect([heard.at(-1), events.enabled]).toEqual(['b', [a, b]]);
  channels.mask(a);
  events.waiting.push(a);
  expect([channels.dispatch(), channels.takePending(a)]).toEqual([0, false]);
  channels.unmask(a);
  expect([channels.takePending(a), channels.takePending(a), events.enabled.length]).toEqual([true, false, 3]);
  takeLog();
  channels.send(a);
  channels.close(a);
  expect(takeLog()).toEqual([`notify ${a}`, `unbind ${a}`]);
  for (const use of [channels.send, channels.mask, channels.unmask, channels.close]) {
    expect(() => use.call(channels, a)).toThrow(`xen: no event port ${a}`);
  }
});

test('more ports than one read brings are told one read after the other', () => {
  const { channels, events } = makeDevices();
  const ports = Array.from({ length: 99 }, (_, i) => channels.bindInterdomain(1, i));
  const heard = new Set<number>();
  for (const port of ports) channels.listen(port, () => heard.add(port));
  events.waiting.push(...ports);
  expect([channels.dispatch(), channels.dispatch(), channels.dispatch()]).toEqual([64, 35, 0]);
  expect(heard.size).toBe(99);
});

test.skipIf(!sysAvailable())('what is opened is given back, and what is missing is named', async () => {
  const arena = testArena(1 << 20);
  const folder = mkdtempSync(join(tmpdir(), 'ringway-devices-'));
  const store = join(folder, 'store');
  const server = await serveStore(store, new Store().introduce(0));
  const paths = { gntdev: '/dev/null', evtchn: '/dev/null', store, xenbus: '/nothing' };
  const before = arena.regions().map(({ name }) => name);
  const countOpen = (): number => readdirSync('/proc/self/fd').length;
  const open = countOpen();
  try {
    expect(() => new XenDevices(arena, { name: 'xen', mapPages: 4, paths: { ...paths, evtchn: '/none' } })).toThrow(
      'xen: there is no /none; in domain 0 of a Xen, or in a driver domain, load the modules xen-gntdev and xen-evtchn, and start xenstored',
    );
    expect(() => new XenDevices(arena, { name: 'xen', mapPages: 4, paths: { ...paths, store: '/nowhere' } })).toThrow(
      'xen: there is no /nothing, nor /nowhere; in domain 0 of a Xen, or in a driver domain,',
    );
    expect(() => new XenDevices(arena, { name: 'xen', mapPages: 400, paths })).toThrow(
      expect.objectContaining({ code: 'ARENA_FULL' }),
    );
    const xen = new XenDevices(arena, { name: 'xen', mapPages: 4, paths });
    expect([xen.domid, await xen.store.read('domid')]).toEqual([0, '0']);
    const page = xen.takePages(2);
    // What is no gntdev takes no call.
    expect(xen.map([{ domid: 1, ref: 9 }], page)[0]?.status).toBe(GNTST.noSpace);
    expect(() => xen.events.bindInterdomain(1, 2)).toThrow(/port 2 of domain 1 cannot be bound: ENOTTY/);
    const batch = xen.createBatch('batch', 1);
    batch.set(0, { source: { domid: 1, ref: 9, offset: 0 }, target: { address: page }, length: 8 });
    xen.copy(batch, 1);
    expect(batch.status(0)).toBe(GNTST.generalError);
    expect(xen.costs()).toMatchObject({ hypercalls: 2, maps: 0, copies: 1, copyBytes: 0, failed: 2 });
    xen.freePages(page);
    xen.close();
    arena.release('batch');
    expect(arena.regions().map(({ name }) => name)).toEqual(before);
    await expect.poll(countOpen).toBeLessThanOrEqual(open);
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});
