/**
 * A whole dataplane from a configuration: ports, worker threads, a switch between them.
 *
 * @example
 * import { loadConfig, startDataplane } from 'ringway';
 *
 * const dataplane = await startDataplane(loadConfig('examples/replay.yaml', { set: ['ports.in.path=some.pcap'] }));
 * await dataplane.finished;
 * console.log((await dataplane.stop()).ports);
 *
 * @module
 */
export { loadConfig, parseConfig } from '../config/load.ts';
export type * from '../config/types.ts';
export type { PortModule } from '../ports/module.ts';
export type { Port, PortContext, PortInfo } from '../ports/port.ts';
export type {
  AsyncRingSnapshot,
  AsyncSnapshot,
  EngineSnapshot,
  EventdevSnapshot,
  EventPortSnapshot,
  EventQueueSnapshot,
  FlowMoveSnapshot,
  LcoreSnapshot,
  PortSnapshot,
  RingSnapshot,
  Snapshot,
  SwitchSnapshot,
  WorkSnapshot,
} from '../telemetry/snapshot.ts';
export { type ErrorCode, RingwayError } from '../util/errors.ts';
export { startDataplane } from './dataplane.ts';
export type { RunningDataplane, StartDataplane } from './running.ts';
export type { Stage, StageContext, StageFactory } from './stage.ts';
