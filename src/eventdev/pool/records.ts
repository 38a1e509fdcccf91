import type { Arena } from '../../memory/arena.ts';
import { alignUp } from '../../util/bits.ts';
import { IN_FLIGHT_MAX } from '../layout.ts';
import type { EventDeviceOptions } from '../options.ts';
import { eventDeviceBytes } from '../sizes.ts';
import { shapeBytes } from './codec.ts';
import { BURST, ERROR_BYTES, RECORD_BYTES, WORKER_FLOWS } from './layout.ts';
import type { CheckedPoolOptions } from './options.ts';

/** Where a pool's parts are in its arena. */
export interface Places {
  /** Address of the first record, and bytes from each to the next. */
  readonly records: number;
  readonly stride: number;
  readonly count: number;
  /** Where the message and the result begin in a record. */
  readonly messageAt: number;
  readonly resultAt: number;
  /** Address of the first error, ERROR_BYTES each. */
  readonly errors: number;
  /** Address of the main thread's two bursts, BURST slots each, and of each worker's words. */
  readonly main: number;
  readonly workers: readonly number[];
}

/** Credits beside those of messages: what the main thread's port may have in stock, and what it borrows at least. */
const SPARE_CREDITS = 256;
const LINE = 64;
/** A region costs its guard and its alignment. */
const REGION_SPARE = 512;

/** The device of a pool: queue 0 from the main thread to the workers, queue 1 back. Its last port is the main thread's. */
export function deviceOptions({ workers, ordered, inFlight }: CheckedPoolOptions): EventDeviceOptions {
  const worker = { implicitRelease: false, enqueueDepth: BURST, dequeueDepth: BURST };
  return {
    name: 'pool',
    ports: [...new Array<typeof worker>(workers).fill(worker), { enqueueDepth: BURST, dequeueDepth: BURST }],
    queues: [{ schedule: ordered ? 'atomic' : 'parallel' }, { schedule: 'single-link' }],
    newEventsLimit: Math.min(inFlight + SPARE_CREDITS, IN_FLIGHT_MAX),
  };
}

function sizes({ message, result, messageBytes, inFlight }: CheckedPoolOptions) {
  const resultAt = RECORD_BYTES + alignUp(shapeBytes(message, messageBytes, 'keyed pool: message'), 8);
  const stride = alignUp(resultAt + shapeBytes(result, messageBytes, 'keyed pool: result'), LINE);
  return { resultAt, stride, worker: alignUp(WORKER_FLOWS + inFlight * 16, LINE) };
}

/** Bytes of an arena for a pool. @throws RingwayError `BAD_ARGUMENT` naming a bad field of a struct. */
export function poolArenaBytes(options: CheckedPoolOptions): number {
  const { stride, worker } = sizes(options);
  const { inFlight, workers } = options;
  return (
    eventDeviceBytes(deviceOptions(options)) +
    inFlight * (stride + ERROR_BYTES) +
    workers * (worker + REGION_SPARE) +
    2 * BURST * 16 +
    8 * REGION_SPARE
  );
}

/** Allocates a pool's parts. @throws RingwayError `ARENA_FULL`. */
export function allocatePlaces(arena: Arena, options: CheckedPoolOptions): Places {
  const { resultAt, stride, worker } = sizes(options);
  const { inFlight, workers } = options;
  return {
    records: arena.allocate('records', inFlight * stride),
    stride,
    count: inFlight,
    messageAt: RECORD_BYTES,
    resultAt,
    errors: arena.allocate('errors', inFlight * ERROR_BYTES),
    main: arena.allocate('main', 2 * BURST * 16),
    workers: Array.from({ length: workers }, (_, id) => arena.allocate(`worker ${id}`, worker)),
  };
}
