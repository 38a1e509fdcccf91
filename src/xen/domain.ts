import type { Arena } from '../memory/arena.ts';
import { type Pages, requireSys } from '../sys/index.ts';
import { alignUp, isPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import {
  ACTIVE_SHIFT,
  DOMAIN_ACTIVE,
  DOMAIN_ALIVE,
  DOMAIN_AREA,
  DOMAIN_AREA_OWNERS,
  DOMAIN_AREA_PAGES,
  DOMAIN_BYTES,
  DOMAIN_DOMID,
  DOMAIN_FILE,
  DOMAIN_FRAMES,
  DOMAIN_GRANT_COUNT,
  DOMAIN_GRANTS,
  DOMAIN_LOCAL,
  DOMAIN_LOCAL_PAGES,
  DOMAIN_MAPTRACK,
  DOMAIN_MAPTRACK_COUNT,
  DOMAIN_MAPTRACK_FREE,
  DOMAIN_MASK,
  DOMAIN_MEMORY,
  DOMAIN_PENDING,
  DOMAIN_PORT_COUNT,
  DOMAIN_PORTS,
  GRANT_BATCH_MAX,
  GRANT_SHIFT,
  MAP_SHIFT,
  MAPTRACK_NEXT,
  MAPTRACK_SHIFT,
  PORT_SHIFT,
  PORTS_MAX,
  XEN_PAGE_BYTES,
  XEN_PAGE_SHIFT,
} from './layout.ts';

/** What a domain has. */
export interface DomainOptions {
  /** Pages of its memory, of 4 KiB: 1 to 262,144. */
  readonly pages: number;
  /** Grant references, a power of two from 16 to 65,536: 1,024 by default. */
  readonly grants?: number;
  /** Pages that it can map of others, and handles for them: 1 to 65,536, 256 by default. */
  readonly mapPages?: number;
  readonly maptrack?: number;
  /** Event ports: 2 to 4,096, 256 by default. */
  readonly ports?: number;
  /** In a copy it may name any arena address, as a driver domain whose packets lie there: else its own memory alone. */
  readonly wholeArena?: boolean;
}

const LIMITS = {
  pages: [1, 1 << 18],
  grants: [16, 65536],
  mapPages: [1, 65536],
  maptrack: [1, 65536],
  ports: [2, PORTS_MAX],
} as const;

/** Bytes of the operations of a map or unmap. */
export const MAP_OPS_BYTES = GRANT_BATCH_MAX << MAP_SHIFT;

/** Where a domain lies in the arena. */
export interface DomainPlace {
  readonly record: number;
  /** Frame 0, at a page. */
  readonly memory: number;
  readonly pages: number;
  /** The map area. */
  readonly area: number;
  readonly areaPages: number;
  /** Gives all of it back. */
  release(): void;
}

type Checked = Required<DomainOptions>;

function check(name: string, options: DomainOptions): Checked {
  const full: Checked = { grants: 1024, mapPages: 256, maptrack: 256, ports: 256, wholeArena: false, ...options };
  for (const [key, [least, most]] of Object.entries(LIMITS)) {
    const value = full[key as keyof typeof LIMITS];
    const fits =
      Number.isInteger(value) && value >= least && value <= most && (key !== 'grants' || isPowerOfTwo(value));
    if (!fits) {
      const kind = key === 'grants' ? 'a power of two' : 'a whole number';
      throw new RingwayError('BAD_ARGUMENT', `${name}: ${key}=${value}, must be ${kind} from ${least} to ${most}`);
    }
  }
  return full;
}

/** Writes what Xen knows of the domain. Addresses of its parts follow from the first, `at`. */
function writeRecord(
  arena: Arena,
  record: number,
  domid: number,
  options: Checked,
  place: Record<string, number>,
): void {
  const { pages, grants, mapPages, maptrack, ports, wholeArena } = options;
  const { memory = 0, area = 0, file = 0, parts = 0 } = place;
  const set = (offset: number, value: number): void => {
    arena.u32[(record + offset) >>> 2] = value;
  };
  let at = parts;
  const part = (offset: number, bytes: number): void => {
    set(offset, at);
    at += alignUp(bytes, 128);
  };
  set(DOMAIN_DOMID, domid);
  set(DOMAIN_MEMORY, memory);
  set(DOMAIN_FRAMES, pages);
  set(DOMAIN_FILE, file);
  set(DOMAIN_GRANT_COUNT, grants);
  set(DOMAIN_LOCAL, wholeArena ? 0 : memory);
  set(DOMAIN_LOCAL_PAGES, wholeArena ? arena.bytes / XEN_PAGE_BYTES : pages);
  set(DOMAIN_AREA, area);
  set(DOMAIN_AREA_PAGES, mapPages);
  set(DOMAIN_MAPTRACK_COUNT, maptrack);
  set(DOMAIN_PORT_COUNT, ports);
  part(DOMAIN_GRANTS, grants << GRANT_SHIFT);
  part(DOMAIN_ACTIVE, grants << ACTIVE_SHIFT);
  part(DOMAIN_AREA_OWNERS, mapPages << 2);
  part(DOMAIN_MAPTRACK, maptrack << MAPTRACK_SHIFT);
  part(DOMAIN_PORTS, ports << PORT_SHIFT);
  part(DOMAIN_PENDING, alignUp(ports, 32) >> 3);
  part(DOMAIN_MASK, alignUp(ports, 32) >> 3);
  const track = arena.u32[(record + DOMAIN_MAPTRACK) >>> 2] ?? 0;
  for (let handle = 0; handle < maptrack; handle++) {
    const next = handle + 1 < maptrack ? handle + 2 : 0;
    arena.u32[(track + (handle << MAPTRACK_SHIFT) + MAPTRACK_NEXT) >>> 2] = next;
  }
  set(DOMAIN_MAPTRACK_FREE, 1);
  Atomics.store(arena.u32, (record + DOMAIN_ALIVE) >>> 2, 1);
}

function partBytes({ grants, mapPages, maptrack, ports }: Checked): number {
  const sizes = [grants << GRANT_SHIFT, grants << ACTIVE_SHIFT, mapPages << 2, maptrack << MAPTRACK_SHIFT];
  return [...sizes, ports << PORT_SHIFT, alignUp(ports, 32) >> 3, alignUp(ports, 32) >> 3].reduce(
    (sum, bytes) => sum + alignUp(bytes, 128),
    0,
  );
}

/** Bytes of the arena that a domain takes, its operations included. */
export function domainBytes(options: DomainOptions): number {
  const checked = check('domain', options);
  const { pages, mapPages } = checked;
  // Regions at pages, each with its guards.
  return ((pages + mapPages + 8) << XEN_PAGE_SHIFT) + partBytes(checked) + DOMAIN_BYTES + MAP_OPS_BYTES;
}

/**
 * Makes the memory and the record of a domain.
 * @param mapper its memory is a file of its own, mapped over the arena, so that others can map its pages; and nothing is where it maps
 *   theirs until it does. Undefined where nothing can be mapped.
 * @throws RingwayError `BAD_ARGUMENT` when an option is out of range, `ARENA_FULL` when it does not fit.
 */
export function createDomainPlace(
  arena: Arena,
  name: string,
  domid: number,
  options: DomainOptions,
  mapper: Pages | undefined,
): DomainPlace {
  const checked = check(name, options);
  const { pages, mapPages } = checked;
  const regions: string[] = [];
  const reserve = (what: string, bytes: number): number => {
    const address = arena.allocate(`${name} ${what}`, bytes, XEN_PAGE_BYTES);
    regions.push(`${name} ${what}`);
    return address;
  };
  let file = -1;
  let memory = 0;
  let area = 0;
  const release = (): void => {
    if (mapper !== undefined && area !== 0)
      requireSys(name).unmap(arena.handle.memory, area, mapPages << XEN_PAGE_SHIFT);
    if (file >= 0) {
      const sys = requireSys(name);
      sys.unmap(arena.handle.memory, memory, pages << XEN_PAGE_SHIFT);
      sys.closeFd(file);
    }
    for (const region of regions.splice(0)) arena.release(region);
  };
  try {
    memory = reserve('memory', pages << XEN_PAGE_SHIFT);
    area = reserve('map area', mapPages << XEN_PAGE_SHIFT);
    const parts = reserve('tables', partBytes(checked));
    const record = reserve('record', DOMAIN_BYTES);
    if (mapper !== undefined) {
      const sys = requireSys(name);
      file = sys.memfdCreate(name, pages << XEN_PAGE_SHIFT, { seal: true });
      sys.mapFile(arena.handle.memory, memory, pages << XEN_PAGE_SHIFT, file, 0);
      if (!mapper.unmap(area, mapPages << XEN_PAGE_SHIFT)) {
        throw new RingwayError('SYSTEM', `${name}: its map area of ${mapPages} pages cannot be emptied`);
      }
    }
    writeRecord(arena, record, domid, checked, { memory, area, file, parts });
    return { record, memory, pages, area, areaPages: mapPages, release };
  } catch (error) {
    release();
    throw error;
  }
}
