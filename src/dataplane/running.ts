import type { Config } from '../config/types.ts';
import type { ControlTarget } from '../control/target.ts';
import type { Snapshot } from '../telemetry/snapshot.ts';

/** A dataplane that `startDataplane` started. */
export interface RunningDataplane extends ControlTarget {
  /** Resolves when every finite input is drained or somebody called `requestStop`; rejects when the dataplane broke. */
  readonly finished: Promise<void>;
  /** Drains, closes files and returns the last snapshot. Further calls return the same. */
  stop(): Promise<Snapshot>;
}

/** Starts a dataplane; rejects with a `RingwayError` when something in `config` cannot be had. */
export type StartDataplane = (config: Config) => Promise<RunningDataplane>;
