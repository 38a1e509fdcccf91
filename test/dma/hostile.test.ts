import { DMA_STATUS } from 'ringway/dma';
import { beforeAll, expect, test } from 'vitest';
import {
  DMA_DESC_FLAGS,
  DMA_DESC_LENGTH,
  DMA_DESC_OP,
  DMA_DESC_SHIFT,
  DMA_DESC_SOURCE,
  DMA_DESC_TARGET,
  SG_SHIFT,
  VCHAN_DESCRIPTORS,
  VCHAN_END,
  VCHAN_LOWEST,
  VCHAN_SG,
} from '#build/dma/layout.js';
import { vchanBytes } from '#build/dma/vchan.js';
import { Random } from '#build/util/random.js';
import { BASES, testArena } from '../support/arena.ts';
import { compileTraced } from '../support/kernels.ts';
import { TracedArena } from '../support/traced.ts';
import { inside, type Window } from '../virtio/support/watch.ts';
import { DATA_BYTES, makeChannel, type Rig } from './support/channel.ts';
import { HOSTILE_FAULTS } from './support/planted.ts';

const SIZE = 32;

test.each(BASES)('at base %i: an address outside the arena is a status, and so is a wrong length', (base) => {
  const rig = makeChannel({ arena: testArena(1 << 20, base), cpu: true, descriptors: SIZE });
  const { arena, vchan, source, target, lists, statuses } = rig;
  const end = arena.bytes;
  const { INVALID_SRC_ADDR: src, INVALID_DST_ADDR: dst, INVALID_LENGTH: length, SUCCESSFUL: good } = DMA_STATUS;
  const list = (...words: number[]): void => arena.u32.set(words, lists >>> 2);
  const cases: [() => number, number][] = [
    [() => vchan.copy(target, 0, 1), src],
    [() => vchan.copy(target, arena.handle.base, 64), src],
    [() => vchan.copy(target, source, end - source), dst],
    [() => vchan.copy(target, end - 1, 2), src],
    [() => vchan.copy(end - 1, source, 2), dst],
    [() => vchan.copy(0xfffffff0, source, 0x20), dst],
    [() => vchan.copy(target, 0xffffffff, 0xffffffff), src],
    [() => vchan.copy(0, source, 0), dst],
    [() => vchan.copy(end - 1, source, 1), good],
    [() => vchan.fill(arena.handle.base + 65535, 1, 2, 1), dst],
    [() => vchan.fill(end - 4, 1, 2, 8), dst],
    [() => vchan.fill(0xfffffff8, 1, 2, 0xffffffff), dst],
    [() => vchan.fill(end - 8, 1, 2, 8), good],
  ];
  const before = arena.u8.slice(base, end - 8);
  for (const [enqueue, status] of cases) {
    enqueue();
    vchan.submit();
    expect(vchan.completedStatus(1, statuses)).toBe(1);
    expect([arena.u8[statuses], vchan.hasError]).toEqual([status, status !== good]);
  }
  const sg: [number[], number][] = [
    [[target, 8, target, 8, source, 8, source, 7], length],
    [[target, 8, 16, 8, source, 8, source, 8], dst],
    [[target, 8, target, 8, source, 8, end, 8], src],
    [[target, 0xffffffff, target, 1, source, 0, source, 0], dst],
    [[target, 0, target, 0, source, 0, source, 0], good],
  ];
  for (const [words, status] of sg) {
    list(...words);
    vchan.copySg(lists, 2, lists + 16, 2);
    vchan.submit();
    expect(vchan.completedStatus(1, statuses)).toBe(1);
    expect(arena.u8[statuses]).toBe(status);
  }
  // Nothing but what the channel itself wrote, and the two bytes at the end.
  const own = [
    { address: rig.address, bytes: vchanBytes(SIZE, true) },
    { address: lists, bytes: 512 },
    { address: statuses, bytes: 256 },
  ];
  const changed = before.findIndex((byte, at) => byte !== arena.u8[base + at] && !inside(own, base + at, 1));
  expect(changed).toBe(-1);
});

/** A word that a descriptor or a list may hold: near every limit, or anything. */
function anything(random: Random, { source, target }: Rig): number {
  const places = [0, 1, 64, 1500, source, target, target + DATA_BYTES, 2 ** 31, 2 ** 32 - 1];
  return random.below(4) === 0 ? random.next() : (places[random.below(places.length)] as number) + random.below(9) - 4;
}

/** Writes descriptor `slot` and its lists: half of them are sound. */
function writeAnything(random: Random, rig: Rig, slot: number): void {
  const { arena, address } = rig;
  const { u16, u32 } = arena;
  const descriptor = address + VCHAN_DESCRIPTORS + (slot << DMA_DESC_SHIFT);
  const op = random.below(10) === 0 ? random.next() & 0xffff : random.below(3);
  const sound = random.below(2) === 0;
  const [target, source] = [rig.target, rig.source].map((at) => at + random.below(DATA_BYTES - 64)) as [number, number];
  const counts = random.below(4) === 0 ? random.next() : 0x20002;
  const words = sound ? [target, source, op === 1 ? counts : 32] : [0, 0, 0].map(() => anything(random, rig));
  u32.set(words, descriptor >>> 2);
  u16[(descriptor + DMA_DESC_OP) >>> 1] = op;
  u16[(descriptor + DMA_DESC_FLAGS) >>> 1] = random.next();
  const list = ((u32[(address + VCHAN_SG) >>> 2] as number) + (slot << SG_SHIFT)) >>> 2;
  for (let word = 0; word < 64; word++) {
    const entry = word % 2 === 1 ? 16 : word < 32 ? target : source;
    u32[list + word] = sound ? entry : anything(random, rig);
  }
}

/** Changes a word of some descriptor, or of its lists. */
function scribble(random: Random, rig: Rig): void {
  const { arena, address } = rig;
  const { u32 } = arena;
  const slot = random.below(SIZE);
  const descriptor = address + VCHAN_DESCRIPTORS + (slot << DMA_DESC_SHIFT);
  const word = [DMA_DESC_TARGET, DMA_DESC_SOURCE, DMA_DESC_LENGTH][random.below(3)] as number;
  const list = (u32[(address + VCHAN_SG) >>> 2] as number) + (slot << SG_SHIFT);
  const at = random.below(2) === 0 ? (descriptor + word) >>> 2 : (list >>> 2) + random.below(64);
  u32[at] = anything(random, rig);
}

/**
 * Lets the engine work on `rounds` bursts of descriptors that hold anything, and that change while it reads them.
 * @throws when it touches what is neither the channel's nor the data, or traps.
 */
function attack(module: WebAssembly.Module, rounds: number): { failed: number; succeeded: number } {
  const arena = new TracedArena(testArena(1 << 20), module);
  const rig = makeChannel({ arena });
  const { vchan, address, source, target, statuses, kernels } = rig;
  // The channel lies out of bounds, so that no operation is sound that writes to it.
  arena.u32[(address + VCHAN_LOWEST) >>> 2] = source;
  arena.u32[(address + VCHAN_END) >>> 2] = target + DATA_BYTES;
  const windows: Window[] = [
    { address, bytes: vchanBytes(SIZE, true) },
    { address: source, bytes: target + DATA_BYTES - source },
  ];
  const random = new Random(rounds);
  let [failed, succeeded] = [0, 0];
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < SIZE; i++) vchan.copy(0, 0, 0);
    for (let slot = 0; slot < SIZE; slot++) writeAnything(random, rig, slot);
    vchan.submit();
    arena.onAccess((at, bytes, kind, site) => {
      if (!inside(windows, at, bytes)) throw new Error(`${arena.where(site)}: ${kind} of ${bytes} bytes at ${at}`);
      if (random.below(6) === 0) scribble(random, rig);
    });
    kernels.dmaRunEngine(address, SIZE);
    arena.onAccess();
    const n = vchan.completedStatus(SIZE, statuses);
    if (n !== SIZE) throw new Error(`${n} came back`);
    const bad = arena.u8.subarray(statuses, statuses + n).filter((status) => status !== 0).length;
    failed += bad;
    succeeded += n - bad;
  }
  return { failed, succeeded };
}

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileTraced({ folders: ['dma'] });
});

test('whatever descriptors hold, and however they change meanwhile, the engine stays in the arena', () => {
  const { failed, succeeded } = attack(module, 100);
  expect(failed).toBeGreaterThan(500);
  expect(succeeded).toBeGreaterThan(500);
});

test.each(HOSTILE_FAULTS.map((fault) => [fault.what, fault] as const))(
  'it is found when %s',
  async (_, { mutations }) => {
    const planted = await compileTraced({ folders: ['dma'], mutations });
    expect(() => attack(planted, 400)).toThrow();
  },
);
