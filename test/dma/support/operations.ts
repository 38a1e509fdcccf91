import type { DmaSegment, Vchan } from 'ringway/dma';
import { DMA_STATUS } from 'ringway/dma';
import type { Arena } from 'ringway/memory';
import type { Random } from '#build/util/random.js';
import { DATA_BYTES, type Rig } from './channel.ts';

/** An operation of a test, sound or not. */
export interface Operation {
  readonly op: 'copy' | 'sg' | 'fill';
  readonly targets: readonly DmaSegment[];
  readonly sources: readonly DmaSegment[];
  readonly pattern: readonly [number, number];
  /** What becomes of it. */
  readonly status: number;
}

type Data = Pick<Rig, 'arena' | 'source' | 'target' | 'lists'>;

/** A piece of the data at `base`, of `length` bytes. */
function piece(random: Random, base: number, length: number): DmaSegment {
  return { address: base + random.below(DATA_BYTES - length + 1), length };
}

/** `bytes` cut into 1 to 5 pieces, some of them empty. */
function cut(random: Random, base: number, bytes: number): DmaSegment[] {
  const pieces: DmaSegment[] = [];
  let left = bytes;
  for (let more = random.below(5); more > 0; more--) {
    const length = random.below(left + 1);
    pieces.push(piece(random, base, length));
    left -= length;
  }
  return [...pieces, piece(random, base, left)];
}

/** Segments of which some byte lies outside the arena. */
function outside(random: Random, arena: Arena): DmaSegment {
  const end = arena.bytes;
  const all = [
    { address: 0, length: 1 },
    { address: arena.handle.base + 65535, length: 2 },
    { address: end - 1, length: 2 },
    { address: end - 8, length: 0x100 },
    { address: 0xffffffff, length: 0x100 },
    { address: 0xffffff00, length: 0x200 },
  ].filter(({ address, length }) => address < arena.handle.base + 65536 || address + length > end);
  return all[random.below(all.length)] as DmaSegment;
}

/** An operation that succeeds, or, one time in `faults`, does not. */
export function draw(random: Random, { arena, source, target }: Data, faults: number): Operation {
  const op = (['copy', 'sg', 'fill'] as const)[random.below(3)] as 'copy' | 'sg' | 'fill';
  const length = random.below(random.below(4) === 0 ? 2048 : 64);
  const pattern = [random.next(), random.next()] as const;
  const sources = op === 'fill' ? [] : op === 'copy' ? [piece(random, source, length)] : cut(random, source, length);
  const targets = op === 'sg' ? cut(random, target, length) : [piece(random, target, length)];
  const sound = { op, sources, targets, pattern, status: DMA_STATUS.SUCCESSFUL };
  if (random.below(faults) !== 0) return sound;
  const where = random.below(3);
  if (where === 0 && op === 'sg') {
    return { ...sound, targets: [...targets, { address: target, length: 1 }], status: DMA_STATUS.INVALID_LENGTH };
  }
  const wrong = outside(random, arena);
  if (op === 'copy') {
    // Both sides have its length, and the other side has to be sound.
    const right = piece(random, where === 1 ? target : source, wrong.length);
    return where === 1
      ? { ...sound, sources: [wrong], targets: [right], status: DMA_STATUS.INVALID_SRC_ADDR }
      : { ...sound, sources: [right], targets: [wrong], status: DMA_STATUS.INVALID_DST_ADDR };
  }
  if (where === 1 && op === 'sg') {
    return { ...sound, sources: [...sources.slice(1), wrong], status: DMA_STATUS.INVALID_SRC_ADDR };
  }
  return { ...sound, targets: [wrong, ...targets.slice(1)], status: DMA_STATUS.INVALID_DST_ADDR };
}

function writeList(arena: Arena, address: number, list: readonly DmaSegment[]): void {
  for (const [i, segment] of list.entries()) {
    arena.u32.set([segment.address, segment.length], (address >>> 2) + i * 2);
  }
}

/** Enqueues it. Returns what the channel says. */
export function enqueue(vchan: Vchan, { arena, lists }: Data, operation: Operation, flags: number): number {
  const { op, targets, sources, pattern } = operation;
  if (op === 'sg') {
    writeList(arena, lists, targets);
    writeList(arena, lists + 256, sources);
    const index = vchan.copySg(lists, targets.length, lists + 256, sources.length, flags);
    // The lists are ours again.
    arena.u8.fill(0xff, lists, lists + 512);
    return index;
  }
  const [to, from] = [targets[0] as DmaSegment, sources[0]];
  if (from === undefined) return vchan.fill(to.address, pattern[0], pattern[1], to.length, flags);
  return vchan.copy(to.address, from.address, to.length, flags);
}

/** Does to `memory`, a copy of the arena's bytes from `base` on, what the operation does. */
export function apply(memory: Uint8Array, base: number, { op, targets, sources, pattern, status }: Operation): void {
  if (status !== DMA_STATUS.SUCCESSFUL) return;
  const bytes: number[] = [];
  if (op === 'fill') {
    const eight = new Uint8Array(Uint32Array.of(...pattern).buffer);
    for (let i = 0; i < (targets[0]?.length ?? 0); i++) bytes.push(eight[i % 8] as number);
  }
  for (const { address, length } of sources) bytes.push(...memory.subarray(address - base, address - base + length));
  let from = 0;
  for (const { address, length } of targets) {
    memory.set(bytes.slice(from, from + length), address - base);
    from += length;
  }
}
