import { RingwayError } from '../util/errors.ts';

/** Faults of a model. Operations are numbered from 0 over all channels, in the order in which it accepts them. */
export interface ModelFaults {
  /** Operations that fail. */
  readonly fail?: readonly number[];
  /** Share of operations that fail, 0 to 1, as `seed` (1 by default) has it. */
  readonly failRate?: number;
  readonly seed?: number;
  /** From this operation on the device hangs: those before are completed, it and later ones never are. */
  readonly stallFrom?: number;
  /** When this operation is to be completed the device goes instead: nothing is any more. */
  readonly vanishAt?: number;
}

/** What hardware a model stands for. */
export interface ModelParameters {
  /** Bytes per second that all units transfer together; those that transfer at a time share it evenly. */
  readonly bandwidth: number;
  /** From the last byte of an operation until its completion is seen. */
  readonly latencyNs: number;
  /** What a unit needs for a descriptor before it transfers. */
  readonly descriptorNs: number;
  /** Operations that are worked on at the same time, 1 to 64. */
  readonly units: number;
  /** Operations accepted and not completed at most, over all channels: `units` to 65,536. */
  readonly workQueue: number;
  readonly faults?: ModelFaults;
}

const UNITS_MAX = 64;
const WORK_QUEUE_MAX = 65_536;

/** @throws RingwayError `BAD_ARGUMENT` with the first parameter that is out of range. */
export function checkModel({
  bandwidth,
  latencyNs,
  descriptorNs,
  units,
  workQueue,
  faults = {},
}: ModelParameters): void {
  const refuse = (what: string, value: unknown, allowed: string): never => {
    throw new RingwayError('BAD_ARGUMENT', `dma model: ${what}=${value}, must be ${allowed}`);
  };
  const isTime = (value: number): boolean => Number.isFinite(value) && value >= 0;
  const isNumber = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
  if (!Number.isFinite(bandwidth) || bandwidth <= 0) refuse('bandwidth', bandwidth, 'bytes per second above 0');
  if (!isTime(latencyNs)) refuse('latencyNs', latencyNs, 'ns from 0');
  if (!isTime(descriptorNs)) refuse('descriptorNs', descriptorNs, 'ns from 0');
  if (!isNumber(units) || units < 1 || units > UNITS_MAX) refuse('units', units, `from 1 to ${UNITS_MAX}`);
  if (!isNumber(workQueue) || workQueue < units || workQueue > WORK_QUEUE_MAX) {
    refuse('workQueue', workQueue, `from the number of units (${units}) to ${WORK_QUEUE_MAX}`);
  }
  const { failRate = 0, fail = [], stallFrom = 0, vanishAt = 0 } = faults;
  if (!(failRate >= 0 && failRate <= 1)) refuse('faults.failRate', failRate, 'from 0 to 1');
  for (const [what, values] of Object.entries({ fail, stallFrom: [stallFrom], vanishAt: [vanishAt] })) {
    const wrong = values.find((value) => !isNumber(value));
    if (wrong !== undefined) refuse(`faults.${what}`, wrong, 'a number of an operation, from 0');
  }
}
