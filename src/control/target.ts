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
  /** Asks for a clean end; returns at once. */
  requestStop(): void;
}
