import {
  KIND_ARRAY_OF_MAPS,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_HASH_OF_MAPS,
  KIND_PROG_ARRAY,
  KIND_XSKMAP,
} from '../bpf/layout.ts';
import { LinuxMap } from '../bpf/linux/map.ts';
import { loadIntoLinux } from '../bpf/linux/program.ts';
import { linkProgram } from '../bpf/object/load.ts';
import type { BpfObject } from '../bpf/object/object.ts';
import type { MapDefinition } from '../bpf/program.ts';
import { requireBpf } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { typedCodec } from './codec.ts';
import { checkPortProgram, checkProgramFor, onlyProgram } from './object.ts';
import { type Names, readKey, writeEntry } from './text.ts';

/** A u32 as bpf(2) has it: a key of an array, a descriptor. */
const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

/** Kinds that hold descriptors of what is no program, so that nobody writes them by hand. */
const CLOSED: readonly number[] = [KIND_ARRAY_OF_MAPS, KIND_HASH_OF_MAPS, KIND_XSKMAP];
/** Kinds whose values may have a program beside an interface or a queue. */
const PAIRS: readonly number[] = [KIND_DEVMAP, KIND_DEVMAP_HASH, KIND_CPUMAP];

/** An object file in Linux: its maps, and those of its programs that somebody wants, until `close`. */
export class LinuxObject {
  /** Name of its file, for messages. */
  readonly file: string;
  readonly maps = new Map<string, LinuxMap>();
  readonly #object: BpfObject;
  /** Descriptors, by name. */
  readonly #programs = new Map<string, number>();
  readonly #mapOf = new Map<MapDefinition, LinuxMap>();

  /**
   * Makes the object's maps, with what they hold from the start.
   * @throws RingwayError `UNSUPPORTED` where there is no bpf(2), with what is needed; `SYSTEM` when Linux refuses.
   */
  constructor(object: BpfObject) {
    this.file = object.file;
    this.#object = object;
    try {
      for (const definition of object.maps) {
        const map = new LinuxMap(definition, typedCodec(definition));
        this.maps.set(definition.name, map);
        this.#mapOf.set(definition, map);
      }
      for (const definition of object.maps) this.#fill(definition);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #fill({ name, kind, initialValues = [] }: MapDefinition): void {
    for (const { key, name: held } of initialValues) {
      const descriptor = kind === KIND_PROG_ARRAY ? this.program(held) : this.maps.get(held)?.descriptor;
      if (descriptor === undefined) {
        throw new RingwayError('BAD_OBJECT', `${this.file}: no map ${held}, which ${name} holds from the start`);
      }
      this.maps.get(name)?.setBytes(word(key), word(descriptor));
    }
  }

  /** The name of the program that a port is to run: `name`, or the only one. */
  programName(name?: string): string {
    const names = this.#object.programs.filter(({ type }) => type === 'xdp').map((each) => each.name);
    return name ?? onlyProgram(this.file, names);
  }

  /** @throws RingwayError `BAD_ARGUMENT` when a program is none that a port runs. */
  checkPort(name: string, field: string): void {
    const found = this.#object.programs.find((each) => each.name === name);
    if (found !== undefined) checkPortProgram(found, field);
  }

  /**
   * The descriptor of a program, which is loaded when it was not.
   * @throws RingwayError as `linkProgram` when there is none; `SYSTEM` with what Linux's verifier says of it.
   */
  program(name: string): number {
    const there = this.#programs.get(name);
    if (there !== undefined) return there;
    const program = linkProgram(this.#object, name);
    const maps = program.maps.map((definition) => this.#mapOf.get(definition) as LinuxMap);
    const descriptor = loadIntoLinux(program, maps, this.#object.license);
    this.#programs.set(name, descriptor);
    return descriptor;
  }

  /**
   * Puts sockets into every XSKMAP, each under the number of its queue: what a program sends there comes up.
   * @throws RingwayError `BAD_CONFIG` when one of these maps has fewer places.
   */
  fillSockets(sockets: readonly number[]): void {
    for (const map of this.maps.values()) {
      if (map.kind !== KIND_XSKMAP) continue;
      const { maxEntries } = map.definition;
      if (maxEntries < sockets.length) {
        throw new RingwayError(
          'BAD_CONFIG',
          `${this.file}: map ${map.name} has places for ${maxEntries} sockets, and the port has ${sockets.length} queues; raise its max_entries`,
        );
      }
      for (const [queue, socket] of sockets.entries()) map.setBytes(word(queue), word(socket));
    }
  }

  #names(portOf: Names['portOf']): Names {
    return {
      portOf,
      programOf: (name, map) => {
        const found = this.#object.programs.find((each) => each.name === name);
        if (found !== undefined) checkProgramFor(map, found);
        return this.program(name);
      },
    };
  }

  /**
   * Writes an entry as people write it; programs by name, since Linux knows them by descriptors.
   * @param portOf gives the index that Linux has for the interface of a port.
   * @throws RingwayError `BAD_ARGUMENT` when the map does not take it, `SYSTEM` when Linux does not.
   */
  write(map: LinuxMap, key: unknown, value: unknown, portOf: Names['portOf']): void {
    if (CLOSED.includes(map.kind)) {
      const what = map.kind === KIND_XSKMAP ? 'has the sockets of its port' : 'has the maps that its object puts there';
      throw new RingwayError(
        'BAD_ARGUMENT',
        `map ${map.name}: a ${map.kindName} in the kernel ${what}, and nothing else`,
      );
    }
    const program = PAIRS.includes(map.kind) ? (value as { program?: unknown } | null)?.program : value;
    const isNamed = typeof program === 'string' && !/^\d+$/.test(program.trim());
    const holds = map.kind === KIND_PROG_ARRAY || (PAIRS.includes(map.kind) && program !== undefined);
    if (holds && !isNamed) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `map ${map.name}: value ${JSON.stringify(value)}: use the name of a program of ${this.file}`,
      );
    }
    writeEntry(map, key, value, this.#names(portOf));
  }

  /** Removes an entry. Returns false when there was none. */
  delete(map: LinuxMap, key: unknown, portOf: Names['portOf']): boolean {
    return map.delete(readKey(map, key, this.#names(portOf)));
  }

  /** Gives back its descriptors. What is attached to an interface stays there until its link is closed. */
  close(): void {
    const { close } = requireBpf();
    for (const descriptor of this.#programs.values()) close(descriptor);
    for (const map of this.maps.values()) map.close();
    this.#programs.clear();
    this.maps.clear();
  }
}
