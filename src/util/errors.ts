/** What went wrong, in a word that programs can test and that stays the same between releases. */
export type ErrorCode =
  | 'ARENA_FULL'
  | 'ARENA_LAYOUT'
  | 'BAD_ARGUMENT'
  | 'BAD_CAPTURE'
  | 'BAD_CONFIG'
  | 'BAD_OBJECT'
  | 'BAD_PROGRAM'
  | 'BAD_REQUEST'
  | 'BUSY'
  | 'CLOSED'
  | 'HANDLER_FAILED'
  | 'LCORE_DIED'
  | 'MAP_FULL'
  | 'NOT_FOUND'
  | 'UNSUPPORTED'
  | 'SYSTEM'
  | 'WORKER_DIED';

/**
 * An error of the control path. Its message names the thing, the place, the value, what is allowed and what to do.
 *
 * Exit codes of the command line follow from `code`: `BAD_CONFIG` and `BAD_ARGUMENT` exit with 2, the rest with 1.
 */
export class RingwayError extends Error {
  override readonly name = 'RingwayError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
