/**
 * The configuration of a dataplane: YAML in, checked and normalised values out.
 *
 * @example
 * import { loadConfig } from '#build/config/index.js';
 *
 * const config = loadConfig('examples/edge.yaml', { set: ['ports.in.path=other.pcap'] });
 * console.log(config.ports.map((port) => port.name));
 *
 * @module
 */
export {
  loadConfig,
  type ParseOptions,
  parseConfig,
  parsePort,
  parsePortArguments,
  parseSteeringRule,
  parseValue,
  parseXdp,
} from './load.ts';
export { steeringSource } from './schema-steering.ts';
export {
  describePath,
  type FaultSetting,
  parseSetting,
  type SettablePath,
  type Setting,
  settablePaths,
} from './settings.ts';
export type * from './types.ts';
export { loadXdpSpec } from './xdp-spec.ts';
