import { placeOf } from '../bpf/program.ts';
import type { XdpReport } from '../control/target.ts';
import { actionName, faultText } from '../xdp/actions.ts';
import { readEvents, readLogs } from '../xdp/events.ts';
import { HOOK_ABORTED_ACTION, HOOK_ABORTED_FAULT, HOOK_ABORTED_PC, HOOK_BYTES } from '../xdp/layout.ts';
import type { Machine } from './machine.ts';
import type { PortTable } from './port-table.ts';
import type { XdpControl } from './xdp-control.ts';

type Listener = (report: XdpReport) => void;

/** Tells whoever listens what XDP programs say, and which packets they aborted. Nobody reads for nobody. */
export class XdpWatch {
  readonly #machine: Machine;
  readonly #control: XdpControl;
  readonly #ports: PortTable;
  readonly #listeners = new Set<Listener>();
  /** By port, packets that had been aborted at the last look. */
  readonly #aborted = new Map<number, number>();

  constructor(machine: Machine, control: XdpControl, ports: PortTable) {
    this.#machine = machine;
    this.#control = control;
    this.#ports = ports;
  }

  /** Adds a listener. Returns what takes it away. */
  add(listener: Listener): () => void {
    if (this.#listeners.size === 0) this.#noteAborted(() => {});
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Reads what was said since the last look. */
  look(): void {
    if (this.#listeners.size === 0) return;
    const tell: Listener = (report) => {
      for (const listener of this.#listeners) listener(report);
    };
    const { arena, logs } = this.#machine;
    for (const text of readLogs(arena, logs)) tell({ kind: 'log', text });
    for (const { map, data } of readEvents(this.#control.table.maps())) {
      tell({ kind: 'event', text: map, data: Buffer.from(data).toString('hex') });
    }
    this.#noteAborted(tell);
  }

  #noteAborted(tell: Listener): void {
    for (const { wire } of this.#ports.all()) {
      const aborted = this.#control.snapshotOf(wire.index)?.aborted ?? 0;
      const more = aborted - (this.#aborted.get(wire.index) ?? 0);
      this.#aborted.set(wire.index, aborted);
      if (more > 0)
        tell({ kind: 'aborted', text: `port ${wire.name}: ${more} packets, the last: ${this.#why(wire.index)}` });
    }
  }

  /** What the last packet of a port was aborted for. */
  #why(index: number): string {
    const { u32 } = this.#machine.arena;
    const entry = this.#ports.byIndex(index);
    const loaded = this.#control.programAt(index);
    if (entry === undefined || loaded === undefined) return 'by a program that is gone';
    const hooks = entry.wire.queueLcores.map((_, queue) => entry.wire.hooks + queue * HOOK_BYTES);
    const word = (hook: number, offset: number): number => u32[(hook + offset) >>> 2] ?? 0;
    const hook = hooks.find((address) => word(address, HOOK_ABORTED_FAULT) !== 0) ?? hooks[0] ?? 0;
    const { program, wire } = loaded;
    const fault = wire.checked ? word(hook, HOOK_ABORTED_FAULT) : 0;
    if (fault !== 0) return `${program.name} ${faultText(fault)}, at ${placeOf(program, word(hook, HOOK_ABORTED_PC))}`;
    const returned = word(hook, HOOK_ABORTED_ACTION);
    return `${program.name} returned ${returned === 0 ? 'XDP_ABORTED' : `${returned}, which is no action (${actionName(returned)})`}`;
  }
}
