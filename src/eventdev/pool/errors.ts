import { type PostedError, packError, unpackError } from '../../lcore/errors.ts';
import { type ErrorCode, RingwayError } from '../../util/errors.ts';
import type { Key } from './key.ts';

/** Which message. Its key is undefined when the pool has none, or when the key cannot be told from what was sent. */
export interface MessagePlace {
  readonly key: Key | undefined;
  /** Its number, from 1, in the order in which the pool took messages in. */
  readonly sequence: number;
  /** Deliveries to handlers so far. */
  readonly attempt: number;
}

/** What a worker says of a message that failed. */
export interface Failure {
  readonly code: 'HANDLER_FAILED' | 'WORKER_DIED';
  readonly cause: PostedError;
}

/** Of a message that failed. `cause` is what its handler threw, or why its worker died. */
export class MessageError extends RingwayError implements MessagePlace {
  /** As in `MessagePlace`. */
  readonly key: Key | undefined;
  readonly sequence: number;
  readonly attempt: number;

  constructor(code: ErrorCode, text: string, at: MessagePlace, cause: Error) {
    super(code, text, { cause });
    this.key = at.key;
    this.sequence = at.sequence;
    this.attempt = at.attempt;
  }
}

/** The JSON of a failure in at most `bytes` bytes of UTF-8: of a long one the stack goes, then the end of the message. */
export function failureText(code: Failure['code'], error: unknown, bytes: number): string {
  let cause = packError(error);
  const fits = (): boolean => Buffer.byteLength(JSON.stringify({ code, cause })) <= bytes;
  while (!fits() && cause.stack !== undefined && cause.stack !== '') {
    cause = { ...cause, stack: cause.stack.split('\n').slice(0, -1).join('\n') };
  }
  while (!fits()) cause = { ...cause, name: 'Error', message: cause.message.slice(0, cause.message.length / 2) };
  return JSON.stringify({ code, cause });
}

function nameOf({ key, sequence }: MessagePlace): string {
  if (key === undefined) return `message ${sequence}`;
  return `message ${sequence} of key ${typeof key === 'bigint' ? `${key}n` : JSON.stringify(key)}`;
}

/** The error of a message, from what its worker said. */
export function messageError({ code, cause }: Failure, at: MessagePlace): MessageError {
  const why = code === 'WORKER_DIED' ? `its worker died each time: ${cause.message}` : cause.message;
  const text = `keyed pool: ${nameOf(at)} failed at attempt ${at.attempt}: ${why}`;
  return new MessageError(code, text, at, unpackError(cause));
}

/** The error of a message that the pool, which ended for `reason`, did not bring to its end. */
export function abandonedError(reason: RingwayError, at: MessagePlace): MessageError {
  return new MessageError(reason.code, `keyed pool: ${nameOf(at)} was not finished: ${reason.message}`, at, reason);
}
