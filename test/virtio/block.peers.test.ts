import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlockFile } from 'ringway/virtio';
import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { type BlockRig, makeBlockRig } from './support/block-rig.ts';

const PATH = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const run = (program: string, ...args: string[]) => spawnSync(program, args, { encoding: 'utf8', env: PATH });
const ready = ['mkfs.ext4', 'fsck.ext4'].every((tool) => run(tool, '-V').error === undefined);
if (!ready) console.warn('block.peers.test.ts is skipped: mkfs.ext4 and fsck.ext4 (e2fsprogs) are not both installed');

const folder = mkdtempSync(join(tmpdir(), 'ringway-ext4-'));
afterAll(() => rmSync(folder, { recursive: true }));
const SECTORS = 32768;
const EXTENT_MAX = 128;

interface Extent {
  readonly sector: number;
  readonly sectors: number;
}

/** All sectors, cut at random and shuffled. */
function extents(random: Random): Extent[] {
  const list: Extent[] = [];
  for (let sector = 0; sector < SECTORS; ) {
    const sectors = Math.min(1 + random.below(EXTENT_MAX), SECTORS - sector);
    list.push({ sector, sectors });
    sector += sectors;
  }
  for (let i = list.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [list[i], list[j]] = [list[j] as Extent, list[i] as Extent];
  }
  return list;
}

/** A file system of 16 MiB with files of many lengths in it, as mkfs.ext4 makes it. */
function makeFileSystem(): Buffer {
  const root = join(folder, 'root');
  mkdirSync(join(root, 'deep', 'er'), { recursive: true });
  const random = new Random(4);
  for (let i = 0; i < 60; i++) {
    const bytes = Uint8Array.from({ length: random.below(60_000) }, () => random.below(256));
    writeFileSync(join(root, i % 2 === 0 ? 'deep/er' : '.', `file-${i}`), bytes);
  }
  const path = join(folder, 'made.img');
  writeFileSync(path, new Uint8Array(SECTORS * 512));
  const made = run('mkfs.ext4', '-q', '-F', '-b', '1024', '-d', root, path);
  expect(made.stderr).toBe('');
  return readFileSync(path);
}

async function writeAll(rig: BlockRig, source: Buffer, random: Random): Promise<void> {
  const { driver, arena, data, settle } = rig;
  for (const { sector, sectors } of extents(random)) {
    arena.u8.set(source.subarray(sector * 512, (sector + sectors) * 512), data);
    await settle(driver.write(sector, data, sectors * 512));
  }
  await settle(driver.flush());
}

async function readAll(rig: BlockRig, random: Random): Promise<Buffer> {
  const { driver, arena, data, settle } = rig;
  const all = Buffer.alloc(SECTORS * 512);
  for (const { sector, sectors } of extents(random)) {
    await settle(driver.read(sector, data, sectors * 512));
    all.set(arena.u8.subarray(data, data + sectors * 512), sector * 512);
  }
  return all;
}

test.skipIf(!ready).each([
  ['memory', 'split'],
  ['memory', 'packed'],
  ['file', 'split'],
  ['file', 'packed'],
  ['file', 'legacy'],
] as const)(
  'a file system written through the device is the one that mkfs.ext4 made: %s, %s',
  async (store, layout) => {
    const source = makeFileSystem();
    const path = join(folder, `${store}-${layout}.img`);
    const random = new Random(store.length * 7 + layout.length);
    writeFileSync(path, new Uint8Array(SECTORS * 512));
    const file = store === 'file' ? { file: new BlockFile(path) } : {};
    const rig = makeBlockRig({ layout, sectors: SECTORS, dataBytes: EXTENT_MAX * 512, ...file });
    await writeAll(rig, source, random);
    if (store === 'memory') writeFileSync(path, rig.arena.u8.subarray(rig.image, rig.image + SECTORS * 512));
    expect(readFileSync(path).equals(source)).toBe(true);
    expect((await readAll(rig, random)).equals(source)).toBe(true);
    const checked = run('fsck.ext4', '-fn', path);
    expect(checked.status, checked.stdout + checked.stderr).toBe(0);
    // The check can fail: a superblock of zeroes is no file system.
    await rig.settle(rig.driver.writeZeroes(2, 2));
    if (store === 'memory') writeFileSync(path, rig.arena.u8.subarray(rig.image, rig.image + SECTORS * 512));
    expect(run('fsck.ext4', '-fn', path).status).not.toBe(0);
  },
);
