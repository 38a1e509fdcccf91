import { prepareLcore } from '../lcore/lcore.ts';
import { moduleUrl } from '../util/module-url.ts';

/** What the lcores of a dataplane run. */
export const LCORE_MODULE = moduleUrl('dataplane/lcore-entry.js');

/** Starts the thread of a dataplane's first lcore while the rest of the program is loaded and the configuration read. */
export function prepareDataplane(): void {
  prepareLcore(LCORE_MODULE);
}
