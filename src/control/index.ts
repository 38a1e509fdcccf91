/**
 * Asking and changing a running dataplane: a Unix socket for each, and its metrics over HTTP.
 *
 * @example
 * import { ControlClient } from '#build/control/index.js';
 *
 * const client = await ControlClient.connect({ name: 'edge' });
 * console.log(await client.request('stats'));
 * await client.request('set', { path: 'ports.load.rate', value: '10kpps' });
 * client.close();
 *
 * @module
 */
export { ControlClient } from './client.ts';
export { type MetricsServer, startMetricsServer } from './metrics.ts';
export { controlDirectory, listDataplanes, refuseRunning } from './paths.ts';
export { type ControlServer, startControlServer } from './server.ts';
export type { ControlTarget, SteeringEntry } from './target.ts';
