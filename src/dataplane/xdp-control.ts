import type { LinuxMap } from '../bpf/linux/map.ts';
import { BpfMap } from '../bpf/maps/map.ts';
import type { Config, XdpConfig } from '../config/types.ts';
import type { MapSummary, XdpAttachment } from '../control/target.ts';
import { portCounters, readCounter } from '../telemetry/counters.ts';
import {
  COUNTER_DROPS,
  COUNTER_XDP_PASS,
  COUNTER_XDP_REDIRECT,
  COUNTER_XDP_TX,
  DROP_XDP,
  DROP_XDP_ABORTED,
} from '../telemetry/layout.ts';
import type { XdpSnapshot } from '../telemetry/snapshot.ts';
import { RingwayError } from '../util/errors.ts';
import { suggest } from '../util/nearest.ts';
import type { LoadedProgram } from '../xdp/object.ts';
import { plainItem, readKey } from '../xdp/text.ts';
import type { Machine } from './machine.ts';
import { ObjectNames } from './object-names.ts';
import type { PortTable } from './port-table.ts';
import type { PipelineMessage } from './wire.ts';
import { XdpLinux } from './xdp-linux.ts';
import { type Attachment, XdpTable } from './xdp-table.ts';

/** A program that a port runs. */
interface Running {
  readonly object: string;
  readonly program: string;
  readonly number: number;
  readonly trusted: boolean;
}

/** Packets by what programs said of them. */
type Counts = Omit<XdpSnapshot, 'object' | 'program'>;

/** What the control thread does about XDP: gives ports programs, shows and writes maps. */
export class XdpControl {
  readonly table: XdpTable;
  readonly #linux: XdpLinux;
  readonly #machine: Machine;
  readonly #ports: PortTable;
  readonly #tellAll: (message: PipelineMessage) => Promise<unknown>;
  readonly #running = new Map<number, Running>();
  /** By port, what was counted when the last one of that number went. */
  readonly #before = new Map<number, Counts>();

  constructor(
    machine: Machine,
    config: Config,
    ports: PortTable,
    tellAll: (message: PipelineMessage) => Promise<unknown>,
  ) {
    this.#machine = machine;
    this.#ports = ports;
    this.#tellAll = tellAll;
    const names = new ObjectNames();
    this.table = new XdpTable(machine, config, (name) => ports.ifindexOf(name), names);
    this.#linux = new XdpLinux(machine, ports, names);
  }

  /**
   * Makes a port run a program from the next burst on; packets see the old one or the new one, each a whole one.
   * @throws RingwayError what is wrong with it; the port runs on as before.
   */
  async attach(port: string, config: XdpConfig): Promise<XdpAttachment> {
    const entry = this.#ports.get(port);
    const { index } = entry.wire;
    const field = `ports.${port}.xdp`;
    // What comes before goes last: no packet passes by both.
    if (config.attach === 'kernel') {
      this.#linux.attach(entry, config, field);
      if (this.#running.has(index)) await this.#unrun(index);
    } else {
      const attachment = this.table.prepare(index, config, field);
      await this.#start(index, attachment, config.trusted);
      if (this.#linux.at(index) !== undefined) this.#linux.detach(entry);
    }
    return { port, ...this.#shown(index) };
  }

  async #start(index: number, { program, object, fresh }: Attachment, trusted: boolean): Promise<void> {
    for (const { wire } of fresh) await this.#tellAll({ kind: 'load', program: wire });
    const { number, name } = program.wire;
    await this.#tellAll({ kind: 'attach', index, program: number });
    this.#running.set(index, { object, program: name, number, trusted });
    await this.#leave(index, object);
  }

  /** @throws RingwayError `NOT_FOUND` when the port runs none. */
  async detach(port: string): Promise<void> {
    const entry = this.#ports.get(port);
    const { index } = entry.wire;
    if (this.#linux.at(index) !== undefined) this.#linux.detach(entry);
    else if (this.#running.has(index)) await this.#unrun(index);
    else throw new RingwayError('NOT_FOUND', `port ${port}: runs no XDP program`);
  }

  async #unrun(index: number): Promise<void> {
    await this.#tellAll({ kind: 'attach', index, program: 0 });
    await this.#stop(index);
  }

  /** Forgets a port that is gone, and what it ran. */
  async forget(index: number): Promise<void> {
    this.table.forgetPort(index + 1);
    this.#linux.forget(index);
    this.#before.set(index, this.#counts(index));
    await this.#stop(index);
  }

  async #stop(index: number): Promise<void> {
    this.#running.delete(index);
    await this.#leave(index);
  }

  async #leave(index: number, except?: string): Promise<void> {
    const { numbers, release } = this.table.leave(index, except);
    for (const program of numbers) await this.#tellAll({ kind: 'unload', program });
    release();
  }

  #shown(index: number): Omit<XdpAttachment, 'port'> {
    const linux = this.#linux.at(index);
    if (linux !== undefined) return { object: linux.name, program: linux.program, attach: 'kernel', checked: true };
    const { object = '', program = '', trusted = false } = this.#running.get(index) ?? {};
    return { object, program, attach: 'ringway', checked: !trusted };
  }

  list(): XdpAttachment[] {
    return this.#ports
      .all()
      .filter(({ wire }) => this.#running.has(wire.index) || this.#linux.at(wire.index) !== undefined)
      .map(({ wire }) => ({ port: wire.name, ...this.#shown(wire.index) }));
  }

  /** What the programs of the ports at number `index` have said, of all that were there. */
  #counts(index: number): Counts {
    const { arena, counters } = this.#machine;
    const sum = (offset: number): number =>
      counters.reduce((total, block) => total + readCounter(arena, portCounters(block, index) + offset), 0);
    return {
      pass: sum(COUNTER_XDP_PASS),
      drop: sum(COUNTER_DROPS + DROP_XDP * 8),
      tx: sum(COUNTER_XDP_TX),
      redirect: sum(COUNTER_XDP_REDIRECT),
      aborted: sum(COUNTER_DROPS + DROP_XDP_ABORTED * 8),
    };
  }

  /** What a port's program has said so far; undefined when it runs none. */
  snapshotOf(index: number): XdpSnapshot | undefined {
    const running = this.#running.get(index);
    if (running === undefined) return undefined;
    const [now, before] = [this.#counts(index), this.#before.get(index)];
    return {
      object: running.object,
      program: running.program,
      pass: now.pass - (before?.pass ?? 0),
      drop: now.drop - (before?.drop ?? 0),
      tx: now.tx - (before?.tx ?? 0),
      redirect: now.redirect - (before?.redirect ?? 0),
      aborted: now.aborted - (before?.aborted ?? 0),
    };
  }

  /** The program that a port runs. */
  programAt(index: number): LoadedProgram | undefined {
    return this.table.programOf(this.#running.get(index)?.number ?? 0);
  }

  /** All maps by name: `OBJECT/MAP`; those that are pinned by `MAP` alone. */
  #maps(): Map<string, BpfMap | LinuxMap> {
    return new Map<string, BpfMap | LinuxMap>([...this.table.maps(), ...this.#linux.maps()]);
  }

  /**
   * The map of this name; the object's may be left out when no other has such a map.
   * @throws RingwayError `NOT_FOUND` with the names that there are.
   */
  #map(name: string): BpfMap | LinuxMap {
    const maps = this.#maps();
    const exact = maps.get(name);
    if (exact !== undefined) return exact;
    const ending = [...maps].filter(([full]) => full.endsWith(`/${name}`));
    if (ending.length === 1) return (ending[0] as [string, BpfMap | LinuxMap])[1];
    const names = [...maps.keys()];
    const hint = ending.length > 1 ? `say which: ${ending.map(([full]) => full).join(', ')}` : suggest(name, names);
    throw new RingwayError(
      'NOT_FOUND',
      `no map ${JSON.stringify(name)}; ${names.length === 0 ? 'there are none' : hint}`,
    );
  }

  listMaps(): MapSummary[] {
    return [...this.#maps()].map(([name, map]) => ({
      name,
      kind: map.kindName,
      keyBytes: map.definition.keyBytes,
      valueBytes: map.definition.valueBytes,
      maxEntries: map.definition.maxEntries,
    }));
  }

  /** The entries of a map, as JSON has them: 64-bit numbers too large for it as text, bytes as hexadecimal text. */
  dumpMap(name: string): { readonly key: unknown; readonly value: unknown }[] {
    return Array.from(this.#map(name), ([key, value]) => ({ key: plainItem(key), value: plainItem(value) }));
  }

  /** Writes an entry, as people write it. */
  updateMap(name: string, key: unknown, value: unknown): void {
    const map = this.#map(name);
    if (map instanceof BpfMap) this.table.write(map, key, value);
    else this.#linux.write(map, key, value);
  }

  /** @throws RingwayError `NOT_FOUND` when there is no such entry. */
  deleteMapEntry(name: string, key: unknown): void {
    const map = this.#map(name);
    const found =
      map instanceof BpfMap ? map.delete(readKey(map, key, this.table.names(map))) : this.#linux.delete(map, key);
    if (!found) throw new RingwayError('NOT_FOUND', `map ${name}: no entry ${JSON.stringify(key)}`);
  }

  /** Gives back what Linux has for it; no port is left. */
  close(): void {
    this.#linux.close();
  }
}
