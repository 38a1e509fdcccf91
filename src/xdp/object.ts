import { compileProgram } from '../bpf/jit/compile.ts';
import { KIND_ARRAY_OF_MAPS, KIND_CPUMAP, KIND_HASH_OF_MAPS, KIND_PROG_ARRAY, RANGE_SHIFT } from '../bpf/layout.ts';
import { createMap, mapBytes, releaseMap } from '../bpf/maps/create.ts';
import type { BpfMap, MapRange } from '../bpf/maps/map.ts';
import type { LinkOptions } from '../bpf/object/link.ts';
import { linkProgram } from '../bpf/object/load.ts';
import type { BpfObject, ObjectProgram } from '../bpf/object/object.ts';
import type { MapDefinition, Program } from '../bpf/program.ts';
import { prove } from '../bpf/verifier/proof.ts';
import { verifyStructure } from '../bpf/verify.ts';
import type { Arena } from '../memory/arena.ts';
import { GUARD_BYTES } from '../memory/layout.ts';
import { RingwayError } from '../util/errors.ts';
import { typedCodec } from './codec.ts';
import type { TypedMap } from './text.ts';

/** What a thread must know of a program to run it: can be posted. */
export interface ProgramWire {
  /** Its number in the tables of programs, from 1. */
  readonly number: number;
  readonly name: string;
  readonly module: WebAssembly.Module;
  /** It takes packets of several buffers. */
  readonly frags: boolean;
  readonly checked: boolean;
  /** Address of the RANGE_… entries of the memory that it may reach, and how many there are. */
  readonly ranges: number;
  readonly rangeCount: number;
}

/** A program in an arena, compiled. */
export interface LoadedProgram {
  readonly wire: ProgramWire;
  readonly program: Program;
  /** Its maps by number. */
  readonly maps: readonly BpfMap[];
}

/** How an object is brought into an arena. */
export interface LoadOptions {
  /** What the names of its regions begin with. */
  readonly prefix: string;
  /** CPUs that maps with values by CPU have values for. */
  readonly cpus: number;
  /** Of hashes: a u32. */
  readonly seed: number;
  /** Run its programs without checks. */
  readonly trusted: boolean;
  /** Maps that objects share by name: those that ask for it are taken from there, or put there. */
  readonly pinned?: Map<string, BpfMap>;
  /** Gives the next free number of a program. */
  nextNumber(): number;
  /** By the name of a function of the program: what another object has in its place. */
  readonly replace?: LinkOptions['replace'];
  readonly fuel?: number;
}

/** Most ranges of an object's programs: a map each, and maps that maps of maps are given later. */
const RANGES_MAX = 256;
/** Bytes of an object's table of ranges. */
const RANGES_BYTES = RANGES_MAX << RANGE_SHIFT;

/** Bytes of an arena that an object's maps take, with those that they hold from the start. */
export function objectBytes(object: BpfObject, cpus: number): number {
  const bytes = object.maps.reduce((sum, map) => sum + mapBytes(map, cpus), 0);
  return bytes + RANGES_BYTES + GUARD_BYTES + 256;
}

/** True when two maps of one name can be one map: programs of both count on what is in them, too. */
function isAlike(a: MapDefinition, b: MapDefinition): boolean {
  const isSame = (['kind', 'keyBytes', 'valueBytes', 'maxEntries', 'flags'] as const).every(
    (field) => a[field] === b[field],
  );
  if (a.inner === undefined || b.inner === undefined) return isSame && a.inner === b.inner;
  return isSame && isAlike(a.inner, b.inner);
}

/**
 * The only one of the names of programs that there are.
 * @throws RingwayError `NOT_FOUND` when there are none or several.
 */
export function onlyProgram(file: string, names: readonly string[]): string {
  if (names.length === 1) return names[0] as string;
  throw new RingwayError(
    'NOT_FOUND',
    `${file}: has ${names.length} XDP programs${names.length === 0 ? '' : `: ${names.join(', ')}; name one`}`,
  );
}

/** @throws RingwayError `BAD_ARGUMENT` when a program is not of the type that `map` takes. */
export function checkProgramFor({ kind, kindName, name }: TypedMap, program: ObjectProgram): void {
  const wanted = kind === KIND_PROG_ARRAY ? 'xdp' : kind === KIND_CPUMAP ? 'xdp/cpumap' : 'xdp/devmap';
  if (program.type === wanted) return;
  throw new RingwayError(
    'BAD_ARGUMENT',
    `map ${name}: ${program.name} is in section ${program.section}; a ${kindName} takes programs of section ${wanted}`,
  );
}

/**
 * @param field where the configuration names the program, for messages.
 * @throws RingwayError `BAD_ARGUMENT` when a program is none that a port runs.
 */
export function checkPortProgram({ name, section, type }: ObjectProgram, field: string): void {
  if (type === 'xdp') return;
  throw new RingwayError('BAD_ARGUMENT', `${field}: ${name} is in section ${section}; a port runs one of section xdp`);
}

/** An object file in an arena: its maps, and its programs compiled. */
export class LoadedObject {
  /** Name of its file, for messages. */
  readonly file: string;
  readonly maps = new Map<string, BpfMap>();
  readonly programs = new Map<string, LoadedProgram>();
  /** By name, why a program of the file cannot run. */
  readonly refused = new Map<string, RingwayError>();
  readonly #arena: Arena;
  readonly #options: LoadOptions;
  readonly #ranges: number;
  readonly #own: BpfMap[] = [];

  /**
   * Makes the object's maps, and compiles its programs.
   * @throws RingwayError `ARENA_FULL`, or `BAD_OBJECT` when a map is like none that there can be. A program that cannot
   *   run is no error before somebody wants it.
   */
  constructor(arena: Arena, object: BpfObject, options: LoadOptions) {
    this.file = object.file;
    this.#arena = arena;
    this.#options = options;
    this.#ranges = arena.allocate(`${options.prefix} ranges`, RANGES_BYTES);
    try {
      for (const definition of object.maps) this.maps.set(definition.name, this.#makeMap(definition));
      for (const [index, { name, type }] of object.programs.entries()) {
        if (type === undefined && index >= 0) continue;
        this.#compile(object, name);
      }
      this.#fill(object);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /**
   * The program of this name; the only one of type xdp when there is none.
   * @throws RingwayError why it cannot run; `NOT_FOUND` with the names that there are.
   */
  program(name?: string): LoadedProgram {
    const wanted = name ?? this.#onlyProgram();
    const found = this.programs.get(wanted);
    if (found !== undefined) return found;
    const refused = this.refused.get(wanted);
    if (refused !== undefined) throw refused;
    const names = [...this.programs.keys(), ...this.refused.keys()].join(', ') || 'none';
    throw new RingwayError('NOT_FOUND', `${this.file}: no program ${JSON.stringify(wanted)}; there are: ${names}`);
  }

  /**
   * The number of a program, for `map` to hold.
   * @throws RingwayError `NOT_FOUND` as `program`; `BAD_ARGUMENT` when it is not of the type that such a map takes.
   */
  programFor(map: TypedMap, name: string): number {
    const { wire, program } = this.program(name);
    checkProgramFor(map, program);
    return wire.number;
  }

  /** True for a map that goes when the object is released. */
  owns(map: BpfMap): boolean {
    return this.#own.includes(map);
  }

  #onlyProgram(): string {
    const names = [...this.programs.values()]
      .filter(({ program }) => program.type === 'xdp')
      .map(({ program }) => program.name);
    const all = names.length > 0 ? names : [...this.refused.keys()];
    return onlyProgram(this.file, all);
  }

  /** Gives back what it took in the arena. No thread runs its programs any more; maps that are pinned stay. */
  release(): void {
    for (const map of this.#own) releaseMap(this.#arena, map);
    this.#own.length = 0;
    this.#arena.release(`${this.#options.prefix} ranges`);
  }

  #makeMap(definition: MapDefinition): BpfMap {
    const { cpus, seed, prefix, pinned } = this.#options;
    const there = definition.pinned ? pinned?.get(definition.name) : undefined;
    if (there !== undefined) {
      if (isAlike(there.definition, definition)) return there;
      throw new RingwayError(
        'BAD_OBJECT',
        `${this.file}: map ${definition.name} is pinned by name, and the one that is there has another kind or size`,
      );
    }
    const codec = typedCodec(definition);
    const map = createMap(this.#arena, definition, {
      name: `${prefix} map ${definition.name.slice(0, 16)}`,
      cpus,
      seed,
      ...(codec === undefined ? {} : { codec }),
    });
    if (definition.pinned && pinned !== undefined) pinned.set(definition.name, map);
    else this.#own.push(map);
    return map;
  }

  #compile(object: BpfObject, name: string): void {
    const { trusted, replace, fuel, nextNumber } = this.#options;
    try {
      const program = linkProgram(object, name, replace === undefined ? {} : { replace });
      verifyStructure(program);
      const maps = program.maps.map((definition) => this.#mapOf(definition));
      const proof = trusted ? undefined : prove(program);
      const options = {
        maps,
        checked: !trusted,
        ...(proof === undefined ? {} : { proof }),
        ...(fuel === undefined ? {} : { fuel }),
      };
      const module = compileProgram(this.#arena, program, options);
      const wire = {
        number: nextNumber(),
        name,
        module,
        frags: program.frags,
        checked: !trusted,
        ranges: this.#ranges,
        rangeCount: RANGES_MAX,
      };
      this.programs.set(name, { wire, program, maps });
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      this.refused.set(name, error);
    }
  }

  /** The map of a definition: one of this object, or of another one whose program took the place of a function. */
  #mapOf(definition: MapDefinition): BpfMap {
    const own = this.maps.get(definition.name);
    if (own !== undefined && own.definition === definition) return own;
    if (own !== undefined && definition.pinned) return own;
    const key = own === undefined ? definition.name : `${definition.name}#${this.maps.size}`;
    const map = this.#makeMap(definition);
    this.maps.set(key, map);
    return map;
  }

  /** Puts in what maps of maps and of programs hold from the start, then lists what programs may reach. */
  #fill(object: BpfObject): void {
    for (const { name, kind, initialValues = [] } of object.maps) {
      const map = this.maps.get(name) as BpfMap;
      for (const { key, name: value } of initialValues) {
        if (kind === KIND_PROG_ARRAY) map.set(key, this.program(value).wire.number);
        else map.set(key, this.#named(value));
      }
    }
    this.updateRanges();
  }

  #named(name: string): BpfMap {
    const map = this.maps.get(name);
    if (map !== undefined) return map;
    throw new RingwayError('BAD_OBJECT', `${this.file}: no map ${name}, which another one holds from the start`);
  }

  /**
   * Lists anew what memory its programs may reach: after a map of maps was given another map. The last entry of the table
   * is repeated to its end, so that threads need no new count.
   */
  updateRanges(): void {
    const all = new Set(this.maps.values());
    for (const map of this.maps.values()) {
      // Behind the others, which stay where they are.
      if (map.kind !== KIND_ARRAY_OF_MAPS && map.kind !== KIND_HASH_OF_MAPS) continue;
      for (const [, inner] of map) all.add(inner as BpfMap);
    }
    const ranges = [...all].flatMap((map) => map.ranges());
    if (ranges.length > RANGES_MAX) {
      throw new RingwayError('ARENA_FULL', `${this.file}: ${ranges.length} maps, at most ${RANGES_MAX} can be reached`);
    }
    for (let index = 0; index < RANGES_MAX; index++)
      this.#writeRange(index, ranges[Math.min(index, ranges.length - 1)]);
  }

  /** Writes an entry while programs may look at it: they see the old one, none, or the new one. */
  #writeRange(index: number, range: MapRange | undefined): void {
    const { u32 } = this.#arena;
    const at = (this.#ranges + (index << RANGE_SHIFT)) >>> 2;
    const [address, bytes, writable, map] = [
      range?.address ?? 0,
      range?.bytes ?? 0,
      range?.writable === true ? 1 : 0,
      range?.map ?? 0,
    ];
    if (u32[at] === address && u32[at + 1] === bytes && u32[at + 2] === writable && u32[at + 3] === map) return;
    Atomics.store(u32, at + 1, 0);
    Atomics.store(u32, at, address);
    Atomics.store(u32, at + 2, writable);
    Atomics.store(u32, at + 3, map);
    Atomics.store(u32, at + 1, bytes);
  }
}
