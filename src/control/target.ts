import type { SteeringRule } from '../config/types.ts';
import type { Snapshot } from '../telemetry/snapshot.ts';

/** A steering rule that runs. */
export interface SteeringEntry {
  /** What `deleteSteering` takes; never used again. */
  readonly id: number;
  readonly rule: SteeringRule;
  /** Packets that matched. */
  readonly hits: number;
}

/** An XDP program that a port runs. */
export interface XdpAttachment {
  readonly port: string;
  /** Name of its object file, without folders and ending. */
  readonly object: string;
  readonly program: string;
  /** Who runs it: the kernel, before packets come to the port, or ringway. */
  readonly attach: 'kernel' | 'ringway';
  readonly checked: boolean;
}

/** A map of the XDP programs that ports run. */
export interface MapSummary {
  /** `OBJECT/MAP`, or `MAP` when it is pinned by name. */
  readonly name: string;
  /** As the kernel calls it, without BPF_MAP_TYPE_. */
  readonly kind: string;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
}

/** Something that an XDP program said, or that happened to it. */
export interface XdpReport {
  /** `log`: trace_printk. `event`: a ring buffer or perf event array. `aborted`: a packet was, and why. */
  readonly kind: 'log' | 'event' | 'aborted';
  /** Text of a log or of what was aborted; the name of the map of an event. */
  readonly text: string;
  /** Bytes of an event, hexadecimal. */
  readonly data?: string;
}

/**
 * What the control socket, the live table and the metrics ask of a running dataplane.
 *
 * Refusals are `RingwayError`s: `NOT_FOUND` for names and ids, `BAD_ARGUMENT` and `BAD_CONFIG` for values, `UNSUPPORTED`
 * for what this dataplane cannot change while it runs. Their message reaches whoever asked.
 */
export interface ControlTarget {
  readonly name: string;
  snapshot(): Snapshot;
  /** Changes a value; `parseSetting(path, value)` in `config/settings.ts` reads both. */
  set(path: string, value: string): Promise<void>;
  /** Adds a port; `parsePort(name, config)` in `config/index.ts` reads `config`. */
  addPort(name: string, config: unknown): Promise<void>;
  deletePort(name: string): Promise<void>;
  /** Adds a rule behind the others; `parseSteeringRule(rule)` reads it. Returns its id. */
  addSteering(rule: unknown): Promise<number>;
  deleteSteering(id: number): Promise<void>;
  listSteering(): readonly SteeringEntry[];
  /**
   * Describes each packet that passes `port` in one line of text, until the returned function is called.
   * @throws RingwayError `NOT_FOUND` when there is no such port.
   */
  trace(port: string, onPacket: (line: string) => void): () => void;
  /** Makes a port run an XDP program, or another one; `parseXdp(config)` in `config/index.ts` reads `config`. */
  attachXdp(port: string, config: unknown): Promise<XdpAttachment>;
  detachXdp(port: string): Promise<void>;
  listXdp(): readonly XdpAttachment[];
  listMaps(): readonly MapSummary[];
  /** The entries of a map, as JSON has them. */
  dumpMap(name: string): readonly { readonly key: unknown; readonly value: unknown }[];
  /** Writes an entry of a map, as people write it. */
  updateMap(name: string, key: unknown, value: unknown): Promise<void>;
  deleteMapEntry(name: string, key: unknown): Promise<void>;
  /** Tells what XDP programs say, until the returned function is called. */
  watchXdp(onReport: (report: XdpReport) => void): () => void;
  /** Asks for a clean end; returns at once. */
  requestStop(): void;
}
