import type { LinuxMap } from '../bpf/linux/map.ts';
import type { XdpConfig } from '../config/types.ts';
import { findInterface, opening } from '../netif/interface.ts';
import type { PortHook } from '../ports/port.ts';
import { requireDevices } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { suggest } from '../util/nearest.ts';
import { LinuxObject } from '../xdp/linux-object.ts';
import type { Machine } from './machine.ts';
import type { ObjectNames } from './object-names.ts';
import type { PortEntry, PortTable } from './port-table.ts';
import { readObject } from './xdp-table.ts';

/** What Linux runs at the interface of a port. */
interface Attached {
  /** Of the object. */
  readonly name: string;
  readonly object: LinuxObject;
  readonly program: string;
}

/** The XDP programs that Linux runs before packets come up: each port has an object, and maps, of its own. */
export class XdpLinux {
  readonly #machine: Machine;
  readonly #ports: PortTable;
  readonly #names: ObjectNames;
  readonly #attached = new Map<number, Attached>();

  constructor(machine: Machine, ports: PortTable, names: ObjectNames) {
    this.#machine = machine;
    this.#ports = ports;
    this.#names = names;
  }

  /** What the interface of the port at number `index` runs. */
  at(index: number): Attached | undefined {
    return this.#attached.get(index);
  }

  /**
   * Loads an object, and has the port's interface run a program of it from the next packet on.
   * @param field where the configuration says so, for messages.
   * @throws RingwayError what is wrong with it, with what Linux says; the interface runs on as before.
   */
  attach({ wire, config, share }: PortEntry, wanted: XdpConfig, field: string): void {
    const { hook } = share;
    if (hook === undefined) {
      throw new RingwayError(
        'BAD_CONFIG',
        `${field}.attach: kernel is for af-xdp ports, and ${wire.name} is a ${config.type} port; use ringway`,
      );
    }
    const { object: read } = readObject(wanted, field);
    const attached = opening(`port ${wire.name}`, () => this.#load(new LinuxObject(read), wanted, field, hook));
    this.#release(wire.index);
    this.#attached.set(wire.index, attached);
  }

  #load(object: LinuxObject, wanted: XdpConfig, field: string, hook: PortHook): Attached {
    try {
      const program = object.programName(wanted.program);
      object.checkPort(program, field);
      object.fillSockets(hook.sockets);
      for (const [name, contents] of Object.entries(wanted.maps)) {
        const map = object.maps.get(name);
        if (map === undefined) {
          const known = suggest(name, [...object.maps.keys()]);
          throw new RingwayError('BAD_CONFIG', `${field}.maps.${name}: is no map of ${object.file}; ${known}`);
        }
        for (const [key, value] of Object.entries(contents)) object.write(map, key, value, this.#portOf);
      }
      hook.run(object.program(program));
      return { name: this.#names.take(wanted.object), object, program };
    } catch (error) {
      object.close();
      throw error;
    }
  }

  /** Has the port's interface run what brings every packet up. */
  detach({ wire, share }: PortEntry): void {
    share.hook?.run();
    this.#release(wire.index);
  }

  /** Forgets what a port ran that goes with its interface's link. */
  forget(index: number): void {
    this.#release(index);
  }

  #release(index: number): void {
    const attached = this.#attached.get(index);
    if (attached === undefined) return;
    this.#attached.delete(index);
    this.#names.give(attached.name);
    attached.object.close();
  }

  /** The index that Linux has for the interface of a port; undefined when there is no such port, or it has none. */
  readonly #portOf = (name: string): number | undefined => {
    const config = this.#ports.all().find(({ wire }) => wire.name === name)?.config;
    if (config === undefined || !('interface' in config)) return undefined;
    return findInterface(requireDevices(this.#machine.arena.handle.memory, `port ${name}`), config.interface).index;
  };

  /** The maps by name, `OBJECT/MAP`. */
  *maps(): Generator<[string, LinuxMap]> {
    for (const { name, object } of this.#attached.values()) {
      for (const [key, map] of object.maps) yield [`${name}/${key}`, map];
    }
  }

  #objectOf(map: LinuxMap): LinuxObject {
    const found = [...this.#attached.values()].find(({ object }) => object.maps.get(map.name) === map);
    return (found as Attached).object;
  }

  write(map: LinuxMap, key: unknown, value: unknown): void {
    this.#objectOf(map).write(map, key, value, this.#portOf);
  }

  /** Returns false when there was no such entry. */
  delete(map: LinuxMap, key: unknown): boolean {
    return this.#objectOf(map).delete(map, key, this.#portOf);
  }

  /** Gives all back; no port is left. */
  close(): void {
    for (const index of [...this.#attached.keys()]) this.#release(index);
  }
}
