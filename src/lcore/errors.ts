import { type ErrorCode, RingwayError } from '../util/errors.ts';

/** An error on its way between threads. A structured clone of it would lose its code, and fail on a cause that cannot be cloned. */
export interface PostedError {
  readonly name: string;
  readonly message: string;
  /** Of a RingwayError. */
  readonly code?: ErrorCode;
  readonly stack?: string;
}

/** What can be posted of `error`, whatever was thrown. */
export function packError(error: unknown): PostedError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack } = error;
  return {
    name,
    message,
    ...(error instanceof RingwayError ? { code: error.code } : {}),
    ...(stack === undefined ? {} : { stack }),
  };
}

/** The error that was packed: a RingwayError when it was one. */
export function unpackError({ name, message, code, stack }: PostedError): Error {
  const error = code === undefined ? Object.assign(new Error(message), { name }) : new RingwayError(code, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
