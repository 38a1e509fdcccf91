import type { Config } from '../config/types.ts';
import { RingwayError } from '../util/errors.ts';
import type { RunningDataplane } from './running.ts';

export type { RunningDataplane, StartDataplane } from './running.ts';

/**
 * Starts a dataplane.
 * @throws RingwayError `UNSUPPORTED`: there is none yet.
 */
export async function startDataplane(config: Config): Promise<RunningDataplane> {
  throw new RingwayError('UNSUPPORTED', `${config.name}: this build has no dataplane to run`);
}
