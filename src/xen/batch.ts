import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import type { CopyBatch, CopySide } from './hypervisor.ts';
import {
  COPY_FLAGS,
  COPY_LENGTH,
  COPY_SHIFT,
  COPY_SOURCE,
  COPY_STATUS,
  COPY_TARGET,
  GNTCOPY_DEST_GREF,
  GNTCOPY_SOURCE_GREF,
  GRANT_BATCH_MAX,
  SIDE_DOMID,
  SIDE_OFFSET,
  SIDE_PLACE,
  VECTOR_SHIFT,
} from './layout.ts';

/** The i16 in a u16 word. */
export function signed(word: number): number {
  return (word << 16) >> 16;
}

/**
 * Makes a batch of `size` copies, with the vectors for one system call before them.
 * @throws RingwayError `BAD_ARGUMENT` when `size` is not from 1 to 1,024, `ARENA_FULL`.
 */
export function createCopyBatch(arena: Arena, name: string, size: number): CopyBatch {
  if (!Number.isInteger(size) || size < 1 || size > GRANT_BATCH_MAX) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${name}: ${size} copies, must be a whole number from 1 to ${GRANT_BATCH_MAX}`,
    );
  }
  const vectors = arena.allocate(name, (GRANT_BATCH_MAX << (VECTOR_SHIFT + 1)) + (size << COPY_SHIFT));
  const address = vectors + (GRANT_BATCH_MAX << (VECTOR_SHIFT + 1));
  const { u16, u32 } = arena;
  const setSide = (at: number, side: CopySide): boolean => {
    const isGref = 'ref' in side;
    u32[(at + SIDE_PLACE) >>> 2] = isGref ? side.ref : side.address;
    u16[(at + SIDE_DOMID) >>> 1] = isGref ? side.domid : 0;
    u16[(at + SIDE_OFFSET) >>> 1] = isGref ? side.offset : 0;
    return isGref;
  };
  return {
    address,
    size,
    vectors,
    set(i, { source, target, length }) {
      const op = address + (i << COPY_SHIFT);
      const flags =
        (setSide(op + COPY_SOURCE, source) ? GNTCOPY_SOURCE_GREF : 0) |
        (setSide(op + COPY_TARGET, target) ? GNTCOPY_DEST_GREF : 0);
      u16[(op + COPY_LENGTH) >>> 1] = length;
      u16[(op + COPY_FLAGS) >>> 1] = flags;
    },
    status: (i) => signed(u16[(address + (i << COPY_SHIFT) + COPY_STATUS) >>> 1] ?? 0),
  };
}
