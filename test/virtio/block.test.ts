import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RingwayError } from 'ringway/memory';
import {
  BlockDriver,
  BlockFile,
  createChainList,
  readBlockInfo,
  type Segment,
  setUpQueue,
  VIRTIO_BLK_F,
} from 'ringway/virtio';
import { afterAll, describe, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { type BlockRig, type BlockRigOptions, makeBlockRig } from './support/block-rig.ts';
import { GUEST_OFFSET } from './support/rig.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringway-block-'));
afterAll(() => rmSync(folder, { recursive: true }));
const SECTORS = 256;
let files = 0;

function makeFile(bytes = SECTORS * 512): string {
  const path = join(folder, `disk-${files++}`);
  writeFileSync(path, new Uint8Array(bytes));
  return path;
}

/** What a device holds, read behind its back. */
function contents(rig: BlockRig, path: string | undefined): Uint8Array {
  return path === undefined ? rig.arena.u8.slice(rig.image, rig.image + SECTORS * 512) : readFileSync(path);
}

function makeStored(
  store: 'memory' | 'file',
  options: BlockRigOptions = {},
): { rig: BlockRig; path: string | undefined } {
  const path = store === 'file' ? makeFile() : undefined;
  const file = path === undefined ? {} : { file: new BlockFile(path, { readOnly: options.readOnly === true }) };
  return { rig: makeBlockRig({ ...options, ...file }), path };
}

const OK = 0;
const IOERR = 1;
const UNSUPP = 2;

/** Sends any chain. Returns the status byte (the last writable one) and the bytes said to be written. */
function send(rig: BlockRig, readable: readonly Segment[], writable: readonly Segment[]): [number, number] {
  const { arena, queue, device } = rig;
  const name = `list ${files++}`;
  const list = createChainList(arena, { name, chains: 1, segments: 64 });
  list.push(readable, writable);
  const last = writable.filter(({ length }) => length > 0).at(-1);
  if (last !== undefined) arena.u8[last.address + last.length - 1] = 0xee;
  expect(queue.driver.add(list, 1)).toBe(1);
  device.notify(0);
  const record = rig.data + 60_000;
  expect(queue.driver.poll(record, 4)).toBe(1);
  arena.release(name);
  const status = last === undefined ? 0xee : (arena.u8[last.address + last.length - 1] ?? 0xee);
  return [status, arena.u32[(record + 4) >>> 2] ?? 0];
}

/** A header at `data`: type and sector. */
function header(rig: BlockRig, type: number, sector: number, bytes = 16): Segment {
  rig.arena.u32.set([type, 0, sector % 2 ** 32, Math.floor(sector / 2 ** 32)], rig.data >>> 2);
  return { address: rig.data, length: bytes };
}
const at = (rig: BlockRig, offset: number, length: number): Segment => ({ address: rig.data + offset, length });

describe.each(['memory', 'file'] as const)('over a %s', (store) => {
  test.each(['split', 'packed', 'legacy'] as const)(
    '%s: what is written is read, anywhere, in any lengths',
    async (layout) => {
      const { rig, path } = makeStored(store, { layout });
      const { driver, arena, data, settle } = rig;
      const expected = new Uint8Array(SECTORS * 512);
      const random = new Random(store.length + layout.length);
      for (let i = 0; i < 200; i++) {
        const sectors = 1 + random.below(16);
        const sector = random.below(SECTORS - sectors + 1);
        const bytes = sectors * 512;
        if (random.below(2) === 0) {
          for (let b = 0; b < bytes; b++) arena.u8[data + b] = random.below(256);
          expected.set(arena.u8.subarray(data, data + bytes), sector * 512);
          await settle(driver.write(sector, data, bytes));
        } else {
          arena.u8.fill(0xa5, data, data + bytes + 1);
          await settle(driver.read(sector, data, bytes));
          const wanted = expected.subarray(sector * 512, sector * 512 + bytes);
          expect(Buffer.compare(arena.u8.subarray(data, data + bytes), wanted)).toBe(0);
          expect(arena.u8[data + bytes]).toBe(0xa5);
        }
      }
      expect(Buffer.compare(contents(rig, path), expected)).toBe(0);
      expect(arena.damaged()).toEqual([]);
    },
  );

  test('flush, identify, write zeroes and discard', async () => {
    const { rig, path } = makeStored(store, { id: 'disk of 20 characters'.slice(0, 20) });
    const { driver, arena, data, settle, block } = rig;
    arena.u8.fill(7, data, data + 4096);
    await settle(driver.write(8, data, 4096));
    await settle(driver.flush());
    expect(await settle(driver.identify())).toBe('disk of 20 character');
    await settle(driver.writeZeroes(9, 2, true));
    await settle(driver.discard(100, 4));
    const now = contents(rig, path);
    expect([now[8 * 512], now[9 * 512], now[11 * 512 - 1], now[11 * 512]]).toEqual([7, 0, 0, 7]);
    expect(block.stats).toMatchObject({
      writes: 1,
      flushes: 1,
      identifies: 1,
      writeZeroes: 1,
      discards: 1,
      ioErrors: 0,
    });
    expect(block.stats.writtenBytes).toBe(4096);
  });

  test('requests of any shape: header and data in pieces, empty pieces, data and status in one', () => {
    const { rig, path } = makeStored(store, {});
    rig.arena.u8.fill(3, rig.data + 1024, rig.data + 2048);
    // The header in pieces that are nowhere near each other.
    const { u8 } = rig.arena;
    header(rig, 1, 5);
    const whole = u8.slice(rig.data, rig.data + 16);
    u8.fill(0xff, rig.data, rig.data + 16);
    u8[rig.data + 3000] = whole[0] ?? 0;
    u8.set(whole.subarray(1, 11), rig.data + 3100);
    u8.set(whole.subarray(11), rig.data + 3200);
    const head = [at(rig, 3000, 1), at(rig, 3050, 0), at(rig, 3100, 10), at(rig, 3200, 5)];
    const pieces = [...head, at(rig, 1524, 500), at(rig, 1024, 12)];
    u8.fill(9, rig.data + 1024, rig.data + 1036);
    expect(send(rig, pieces, [at(rig, 4000, 1), at(rig, 4200, 0)])).toEqual([OK, 1]);
    const sector = contents(rig, path).subarray(5 * 512, 6 * 512);
    expect([...sector.subarray(498, 502), sector[511]]).toEqual([3, 3, 9, 9, 9]);
    // A header and data in one piece; 512 bytes and the status in one.
    header(rig, 1, 6);
    rig.arena.u8.fill(4, rig.data + 16, rig.data + 528);
    expect(send(rig, [at(rig, 0, 528)], [at(rig, 4000, 1)])).toEqual([OK, 1]);
    expect(send(rig, [header(rig, 0, 6)], [at(rig, 8000, 200), at(rig, 9000, 313)])).toEqual([OK, 513]);
    const read = [...u8.subarray(rig.data + 8000, rig.data + 8201), ...u8.subarray(rig.data + 9000, rig.data + 9312)];
    expect([read.length, read.indexOf(0), read.filter((byte) => byte === 4).length]).toEqual([513, 200, 512]);
    // Descriptors that hold something else entirely: an identification in pieces.
    expect(send(rig, [header(rig, 8, 0)], [at(rig, 9500, 3), at(rig, 9600, 18)])).toEqual([OK, 21]);
    const id = [...u8.subarray(rig.data + 9500, rig.data + 9503), ...u8.subarray(rig.data + 9600, rig.data + 9602)];
    expect(String.fromCharCode(...id)).toBe('block');
  });

  const range = (rig: BlockRig, sector: number, sectors: number, flags: number, bytes = 16): Segment => {
    rig.arena.u32.set([sector % 2 ** 32, Math.floor(sector / 2 ** 32), sectors, flags], (rig.data + 64) >>> 2);
    return at(rig, 64, bytes);
  };
  type Case = [string, number, (rig: BlockRig) => [Segment[], Segment[]]];
  test.each<Case>([
    ['a read behind the end', IOERR, (r) => [[header(r, 0, SECTORS)], [at(r, 1024, 513)]]],
    ['a read across the end', IOERR, (r) => [[header(r, 0, SECTORS - 1)], [at(r, 1024, 1025)]]],
    ['a sector that wraps', IOERR, (r) => [[header(r, 0, 2 ** 64 - 2 ** 12)], [at(r, 1024, 513)]]],
    ['a write behind the end', IOERR, (r) => [[header(r, 1, 2 ** 32), at(r, 1024, 512)], [at(r, 4000, 1)]]],
    ['half a sector read', IOERR, (r) => [[header(r, 0, 0)], [at(r, 1024, 257)]]],
    ['half a sector written', IOERR, (r) => [[header(r, 1, 0), at(r, 1024, 256)], [at(r, 4000, 1)]]],
    ['no type', UNSUPP, (r) => [[header(r, 2, 0)], [at(r, 4000, 1)]]],
    ['a type of all ones', UNSUPP, (r) => [[header(r, 0xffff_ffff, 0)], [at(r, 4000, 1)]]],
    ['a header of 15 bytes', IOERR, (r) => [[header(r, 0, 0, 15)], [at(r, 1024, 513)]]],
    ['no header', IOERR, (r) => [[], [at(r, 1024, 513)]]],
    ['19 bytes for an identification', IOERR, (r) => [[header(r, 8, 0)], [at(r, 1024, 20)]]],
    ['no range', IOERR, (r) => [[header(r, 13, 0)], [at(r, 4000, 1)]]],
    ['a cut range', IOERR, (r) => [[header(r, 13, 0), range(r, 0, 1, 0, 15)], [at(r, 4000, 1)]]],
    ['a range behind the end', IOERR, (r) => [[header(r, 13, 0), range(r, SECTORS, 1, 0)], [at(r, 4000, 1)]]],
    ['a range that wraps', IOERR, (r) => [[header(r, 11, 0), range(r, 2 ** 64 - 2 ** 12, 8, 0)], [at(r, 4000, 1)]]],
    ['a range that is too long', IOERR, (r) => [[header(r, 13, 0), range(r, 0, 8193, 0)], [at(r, 4000, 1)]]],
    ['flags that are not known', UNSUPP, (r) => [[header(r, 13, 0), range(r, 0, 1, 2)], [at(r, 4000, 1)]]],
    ['unmap in a discard', UNSUPP, (r) => [[header(r, 11, 0), range(r, 0, 1, 1)], [at(r, 4000, 1)]]],
    ['five ranges', IOERR, (r) => [[header(r, 13, 0), ...Array(5).fill(range(r, 0, 1, 0))], [at(r, 4000, 1)]]],
    ['secure erase', UNSUPP, (r) => [[header(r, 14, 0), range(r, 0, 1, 0)], [at(r, 4000, 1)]]],
  ])('refused: %s', (_, status, make) => {
    const { rig, path } = makeStored(store, {});
    if (store === 'memory') rig.arena.u8.fill(1, rig.image, rig.image + SECTORS * 512);
    const before = contents(rig, path);
    const [readable, writable] = make(rig);
    expect(send(rig, readable, writable)).toEqual([status, 1]);
    expect(Buffer.compare(contents(rig, path), before)).toBe(0);
    const { ioErrors, unsupported, malformed } = rig.block.stats;
    expect([ioErrors, unsupported, malformed]).toEqual([Number(status === IOERR), Number(status === UNSUPP), 0]);
  });

  test('a chain without a status is returned and counted', () => {
    const { rig, path } = makeStored(store, {});
    rig.arena.u8.fill(1, rig.data + 1024, rig.data + 1536);
    expect(send(rig, [header(rig, 1, 0), at(rig, 1024, 512)], [])).toEqual([0xee, 0]);
    expect(send(rig, [header(rig, 1, 0), at(rig, 1024, 512)], [at(rig, 4000, 0)])).toEqual([0xee, 0]);
    expect(rig.block.stats.malformed).toBe(2);
    expect(contents(rig, path).every((byte) => byte === 0)).toBe(true);
  });

  test('a read-only device is read and not written, whatever the driver has accepted', async () => {
    for (const without of [[], [VIRTIO_BLK_F.RO]]) {
      const { rig } = makeStored(store, { readOnly: true, without });
      const { driver, data, settle, block, device, features } = rig;
      await settle(driver.read(0, data, 512));
      await expect(settle(driver.write(0, data, 512))).rejects.toThrow(/device answers 1/);
      await expect(settle(driver.discard(0, 1))).rejects.toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
      await settle(driver.flush());
      expect(block.stats).toMatchObject({ reads: 1, writes: 0, ioErrors: 1, unsupported: 1 });
      expect(readBlockInfo(device, 'driver', features).readOnly).toBe(without.length === 0);
    }
  });

  test('what was not negotiated is not supported', async () => {
    const { FLUSH, DISCARD, WRITE_ZEROES } = VIRTIO_BLK_F;
    const { rig } = makeStored(store, { without: [FLUSH, DISCARD, WRITE_ZEROES] });
    const { driver, data, settle } = rig;
    await settle(driver.write(0, data, 512));
    for (const request of [() => driver.flush(), () => driver.discard(0, 1), () => driver.writeZeroes(0, 1)]) {
      await expect(settle(request())).rejects.toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    }
    expect(rig.block.stats.unsupported).toBe(3);
  });
});

test('a file that becomes shorter fails the request and nothing else', async () => {
  const path = makeFile();
  const file = new BlockFile(path);
  const { driver, data, settle, block, device } = makeBlockRig({ file });
  truncateSync(path, 512 * 10);
  await expect(settle(driver.read(9, data, 1024))).rejects.toThrow(/device answers 1/);
  expect(file.lastError).toBe('end of file');
  await settle(driver.read(9, data, 512));
  expect([block.stats.ioErrors, device.live]).toEqual([1, true]);
  file.close();
  await expect(settle(driver.read(0, data, 512))).rejects.toThrow(/device answers 1/);
  expect(file.lastError).toMatch(/EBADF/);
});

test('a range has as many sectors as the device says, and no more', async () => {
  const { driver, arena, image, settle, device, features } = makeBlockRig({ sectors: 16384 });
  const { sectors = 0 } = readBlockInfo(device, 'driver', features).writeZeroes ?? {};
  expect(sectors).toBe(8192);
  arena.u8.fill(1, image, image + 16384 * 512);
  await expect(settle(driver.writeZeroes(0, sectors + 1))).rejects.toThrow(/device answers 1/);
  expect(arena.u8[image]).toBe(1);
  await settle(driver.writeZeroes(1, sectors));
  const edges = [511, 512, (sectors + 1) * 512 - 1, (sectors + 1) * 512];
  expect(edges.map((at) => arena.u8[image + at])).toEqual([1, 0, 0, 1]);
});

/** A file that counts how often it was made safe, and can fail to be. */
class WatchedFile extends BlockFile {
  syncs = 0;
  fails = false;
  override sync(): boolean {
    this.syncs++;
    return !this.fails && super.sync();
  }
}

test('a write is safe when it is done for a driver without FLUSH, and after a flush for the others (5.2.6.2)', async () => {
  for (const without of [[], [VIRTIO_BLK_F.FLUSH]]) {
    const file = new WatchedFile(makeFile());
    const { driver, data, settle } = makeBlockRig({ file, without });
    await settle(driver.write(0, data, 512));
    await settle(driver.writeZeroes(0, 1));
    expect(file.syncs).toBe(without.length * 2);
    file.fails = true;
    const request = without.length === 0 ? driver.flush() : driver.write(0, data, 512);
    await expect(settle(request)).rejects.toThrow(/device answers 1/);
    file.close();
  }
});

test('files that are none are refused', () => {
  expect(() => new BlockFile(join(folder, 'absent'))).toThrow(expect.objectContaining({ code: 'SYSTEM' }));
  expect(() => new BlockFile(makeFile(511))).toThrow(/must be a file of 512 bytes or more/);
  expect(() => new BlockFile('/dev/null')).toThrow(/must be a file/);
});

test('a driver reads what the device says of itself', () => {
  const { device, features } = makeBlockRig({ blockBytes: 1024, queues: 4 });
  expect(readBlockInfo(device, 'driver', features)).toEqual({
    sectors: 256,
    readOnly: false,
    segmentBytes: 4 << 20,
    segments: 62,
    blockBytes: 1024,
    physicalBlockBytes: 4096,
    queues: 4,
    discard: { sectors: 8192, ranges: 4 },
    writeZeroes: { sectors: 8192, ranges: 4 },
  });
  expect([device.queueMaxSize(3), device.queueMaxSize(4)]).toEqual([64, 0]);
});

test.each([
  [{ id: 'a'.repeat(21) }, /at most 20 ASCII/],
  [{ id: 'ä' }, /ASCII/],
  [{ queues: 0 }, /queues=0/],
  [{ queueSize: 48 }, /queueSize=48/],
  [{ blockBytes: 8192 }, /blockBytes=8192/],
  [{ sectors: 0.5 }, /must be sectors of 512 bytes/],
])('%j is refused', (options, reason) => {
  expect(() => makeBlockRig(options)).toThrow(reason);
});

test('a queue without room for a request is refused', () => {
  expect(() => makeBlockRig({ size: 2 })).toThrow(/size=2, a request takes 3 descriptors/);
});

test('batches: as many as fit, each answered once', () => {
  const { driver, arena, image, data } = makeBlockRig({ size: 64 });
  expect(driver.room).toBe(21);
  for (let sector = 0; sector < 256; sector++) arena.u32[(image + sector * 512) >>> 2] = sector;
  for (let round = 0; round < 50; round++) {
    const tags = new Map<number, number>();
    for (let i = 0; driver.room > 0; i++) tags.set(driver.submit(0, (round * 21 + i) % 256, data + i * 512, 512), i);
    expect(driver.submit(0, 0, data, 512)).toBe(-1);
    expect(driver.flushBatch()).toBe(21);
    const n = driver.poll();
    expect(n).toBe(21);
    for (let k = 0; k < n; k++) {
      const i = tags.get(driver.tags[k] ?? -1) as number;
      expect(driver.statuses[k]).toBe(0);
      expect(arena.u32[(data + i * 512) >>> 2]).toBe((round * 21 + i) % 256);
      tags.delete(driver.tags[k] ?? -1);
    }
    expect(tags.size).toBe(0);
  }
});

test('a queue that is reset and set up again serves on (virtio 1.2, 2.6.1)', async () => {
  const { arena, driver, device, data, settle, queue, features, used } = makeBlockRig({ layout: 'packed' });
  await settle(driver.read(0, data, 512));
  device.resetQueue(0);
  const waiting = driver.read(0, data, 512);
  expect(used.length).toBe(1);
  driver.cancel(new RingwayError('BUSY', 'the queue was reset'));
  await expect(waiting).rejects.toThrow('the queue was reset');
  queue.release();
  const again = setUpQueue(arena, device, { name: 'q', index: 0, features, size: 5, guestOffset: GUEST_OFFSET });
  const notify = (): void => {
    device.notify(0);
  };
  const second = new BlockDriver(arena, { name: 'second', queue: again.driver, notify });
  for (let i = 0; i < 12; i++) {
    const read = second.read(i, data, 512);
    expect(second.poll()).toBe(1);
    await read;
  }
});

test('a broken queue asks for a reset, and rejects what waits', async () => {
  const { driver, device, data, queue, arena, configChanges } = makeBlockRig();
  arena.u16[(queue.driver.rings.driverArea + 2) >>> 1] = 999;
  device.notify(0);
  expect(device.refusal).toMatch(/queue 0 broken, rule 1/);
  expect(configChanges()).toBe(1);
  const waiting = driver.read(0, data, 512);
  arena.u16[(queue.driver.rings.deviceArea + 2) >>> 1] = 999;
  driver.poll();
  await expect(waiting).rejects.toThrow(/broke the queue, rule 1/);
});
