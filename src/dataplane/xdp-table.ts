import { readFileSync } from 'node:fs';
import {
  KIND_ARRAY_OF_MAPS,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_HASH_OF_MAPS,
  KIND_PROG_ARRAY,
  KIND_XSKMAP,
} from '../bpf/layout.ts';
import type { DeviceEntry } from '../bpf/maps/codec.ts';
import type { BpfMap } from '../bpf/maps/map.ts';
import { loadObject } from '../bpf/object/load.ts';
import type { BpfObject } from '../bpf/object/object.ts';
import type { Config, XdpConfig } from '../config/types.ts';
import { RingwayError } from '../util/errors.ts';
import { suggest } from '../util/nearest.ts';
import { checkPortProgram, LoadedObject, type LoadedProgram, objectBytes } from '../xdp/object.ts';
import { type Names, type TypedMap, writeEntry } from '../xdp/text.ts';
import { PROGRAMS_MAX } from '../xdp/thread.ts';
import type { Machine } from './machine.ts';
import type { ObjectNames } from './object-names.ts';

/** Kinds of maps whose values lead to programs or maps. */
const LEADING: readonly number[] = [
  KIND_PROG_ARRAY,
  KIND_ARRAY_OF_MAPS,
  KIND_HASH_OF_MAPS,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_CPUMAP,
];

/** Kinds whose values are ports. */
const TO_PORTS: readonly number[] = [KIND_DEVMAP, KIND_DEVMAP_HASH, KIND_XSKMAP];

/** An object that some ports run a program of. */
interface Entry {
  /** Of its file, without folders and ending; a number behind it when there is another one. */
  readonly name: string;
  readonly path: string;
  readonly trusted: boolean;
  readonly bytes: Uint8Array;
  readonly object: LoadedObject;
  /** Ports that run a program of it. */
  readonly ports: Set<number>;
  /** Numbers of its programs. */
  readonly numbers: readonly number[];
}

/** A program that a port is to run, and the programs that every lcore must have before. */
export interface Attachment {
  readonly program: LoadedProgram;
  readonly object: string;
  /** Programs that lcores do not have yet. */
  readonly fresh: readonly LoadedProgram[];
}

/** Reads the object file of a port's program. */
export function readObject(config: XdpConfig, field: string): { bytes: Uint8Array; object: BpfObject } {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(config.object);
  } catch (cause) {
    throw new RingwayError('BAD_CONFIG', `${field}: ${config.object} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  return { bytes, object: loadObject(bytes, { file: config.object }) };
}

/** Bytes of the arena that the XDP programs of a configuration's ports take: each file once. */
export function xdpBytes(config: Config): number {
  const files = new Map<string, number>();
  for (const { name, xdp } of config.ports) {
    if (xdp === undefined || xdp.attach === 'kernel' || files.has(xdp.object)) continue;
    files.set(xdp.object, objectBytes(readObject(xdp, `ports.${name}.xdp`).object, config.lcores.length));
  }
  return [...files.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** The object files whose programs a dataplane's ports run: loads each once, and names its maps. */
export class XdpTable {
  readonly #machine: Machine;
  readonly #config: Config;
  readonly #portOf: (name: string) => number | undefined;
  readonly #names: ObjectNames;
  readonly #pinned = new Map<string, BpfMap>();
  readonly #numbers = new Set<number>();
  /** The number that was given last: those of programs that are gone come again late. */
  #lastNumber = 0;
  #entries: Entry[] = [];
  #serial = 0;

  /** @param portOf gives the interface index of a port by its name. */
  constructor(machine: Machine, config: Config, portOf: (name: string) => number | undefined, names: ObjectNames) {
    this.#names = names;
    this.#machine = machine;
    this.#config = config;
    this.#portOf = portOf;
  }

  #nextNumber(): number {
    for (let tries = 1; tries < PROGRAMS_MAX; tries++) {
      this.#lastNumber = (this.#lastNumber % (PROGRAMS_MAX - 1)) + 1;
      if (this.#numbers.has(this.#lastNumber)) continue;
      this.#numbers.add(this.#lastNumber);
      return this.#lastNumber;
    }
    throw new RingwayError('ARENA_FULL', `xdp: ${PROGRAMS_MAX - 1} programs are loaded, no more fit; detach some`);
  }

  #load(config: XdpConfig, field: string): { entry: Entry; isFresh: boolean } {
    const { bytes, object } = readObject(config, field);
    const same = this.#entries.find(
      (entry) =>
        entry.path === config.object && entry.trusted === config.trusted && Buffer.compare(entry.bytes, bytes) === 0,
    );
    if (same !== undefined) return { entry: same, isFresh: false };
    const numbers: number[] = [];
    const loaded = this.#loadInto(numbers, object, config.trusted);
    const name = this.#names.take(config.object);
    const { object: path, trusted } = config;
    return { entry: { name, path, trusted, bytes, object: loaded, ports: new Set(), numbers }, isFresh: true };
  }

  /** Brings an object into the arena; `numbers` gets those of its programs. */
  #loadInto(numbers: number[], object: BpfObject, trusted: boolean): LoadedObject {
    try {
      return new LoadedObject(this.#machine.arena, object, {
        prefix: `xdp ${++this.#serial}`,
        cpus: this.#config.lcores.length,
        seed: this.#config.seed,
        trusted,
        pinned: this.#pinned,
        nextNumber: () => {
          const number = this.#nextNumber();
          numbers.push(number);
          return number;
        },
      });
    } catch (error) {
      for (const number of numbers) this.#numbers.delete(number);
      throw error;
    }
  }

  /**
   * Loads what port `port` is to run; it does not run yet, and what it ran before is still there.
   * @param field where the configuration says so, for messages.
   * @throws RingwayError what is wrong with the file, the program or the contents of its maps.
   */
  prepare(port: number, config: XdpConfig, field: string): Attachment {
    const { entry, isFresh } = this.#load(config, field);
    const { object } = entry;
    try {
      const program = object.program(config.program);
      checkPortProgram(program.program, field);
      this.#fill(object, config, field);
      if (isFresh) this.#entries.push(entry);
      // Maps of it may be in pinned ones, which others look up in.
      if (isFresh && this.#pinned.size > 0) this.#updateRanges();
      entry.ports.add(port);
      return { program, object: entry.name, fresh: isFresh ? [...object.programs.values()] : [] };
    } catch (error) {
      if (isFresh) this.#release(entry);
      throw error;
    }
  }

  #fill(object: LoadedObject, { maps }: XdpConfig, field: string): void {
    for (const [name, contents] of Object.entries(maps)) {
      const map = object.maps.get(name);
      if (map === undefined) {
        throw new RingwayError(
          'BAD_CONFIG',
          `${field}.maps.${name}: is no map of ${object.file}; ${suggest(name, [...object.maps.keys()])}`,
        );
      }
      for (const [key, value] of Object.entries(contents)) writeEntry(map, key, value, this.#namesOf(object));
    }
  }

  #release({ name, object, numbers }: Entry): void {
    this.#names.give(name);
    object.release();
    for (const number of numbers) this.#numbers.delete(number);
  }

  #updateRanges(): void {
    for (const { object } of this.#entries) object.updateRanges();
  }

  /** Takes what leads to an object that goes out of the maps that stay: programs by number, and maps. */
  #unpin({ object, numbers }: Entry): void {
    const leads = (kind: number, value: unknown): boolean => {
      if (kind === KIND_PROG_ARRAY) return numbers.includes(value as number);
      if (kind === KIND_ARRAY_OF_MAPS || kind === KIND_HASH_OF_MAPS) return object.owns(value as BpfMap);
      return typeof value === 'object' && numbers.includes((value as DeviceEntry).program);
    };
    for (const map of this.#pinned.values()) {
      if (!LEADING.includes(map.kind)) continue;
      for (const [key, value] of [...map]) if (leads(map.kind, value)) map.delete(key);
    }
  }

  /** Forgets what port `port` ran; `except` is what it runs now. Returns the numbers of programs that no port needs. */
  leave(port: number, except?: string): { numbers: number[]; release: () => void } {
    const gone: Entry[] = [];
    for (const entry of this.#entries) {
      if (entry.name !== except && entry.ports.delete(port) && entry.ports.size === 0) gone.push(entry);
    }
    this.#entries = this.#entries.filter((entry) => !gone.includes(entry));
    for (const entry of gone) this.#unpin(entry);
    if (gone.length > 0) this.#updateRanges();
    return {
      numbers: gone.flatMap(({ numbers }) => numbers),
      release: () => {
        for (const entry of gone) this.#release(entry);
      },
    };
  }

  /** The maps by name, `OBJECT/MAP`; those that are pinned by `MAP` alone. */
  maps(): Map<string, BpfMap> {
    const maps = new Map(this.#pinned);
    for (const { name, object } of this.#entries) {
      for (const [key, map] of object.maps) if (!map.definition.pinned) maps.set(`${name}/${key}`, map);
    }
    return maps;
  }

  #namesOf(object: LoadedObject): Names {
    return { portOf: this.#portOf, programOf: (name: string, map: TypedMap) => object.programFor(map, name) };
  }

  /** What names stand for in entries of a map: programs are those of its object. */
  names(map: BpfMap): Names {
    const entry = this.#entries.find(({ object }) => [...object.maps.values()].includes(map));
    if (entry !== undefined) return this.#namesOf(entry.object);
    const programOf = (name: string): number => {
      throw new RingwayError(
        'NOT_FOUND',
        `map ${map.name}: no program ${JSON.stringify(name)}: no object has this map`,
      );
    };
    return { portOf: this.#portOf, programOf };
  }

  /** Takes a port that is gone out of device and socket maps: its number will be another one's. */
  forgetPort(ifindex: number): void {
    for (const map of this.maps().values()) {
      if (!TO_PORTS.includes(map.kind)) continue;
      for (const [key, value] of [...map]) {
        if ((typeof value === 'object' ? (value as DeviceEntry).ifindex : value) === ifindex) map.delete(key);
      }
    }
  }

  /** Writes an entry as people write it. */
  write(map: BpfMap, key: unknown, value: unknown): void {
    writeEntry(map, key, value, this.names(map));
    this.#updateRanges();
  }

  /** The program of a number, for reports. */
  programOf(number: number): LoadedProgram | undefined {
    for (const { object } of this.#entries) {
      for (const loaded of object.programs.values()) if (loaded.wire.number === number) return loaded;
    }
    return undefined;
  }
}
