import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';
import { RingwayError } from '../../util/errors.ts';
import { IN_FLIGHT_MAX } from '../layout.ts';
import type { Shape, Shaped } from './codec.ts';
import type { MessageError } from './errors.ts';
import type { Key } from './key.ts';

/** A worker whose event loop or handler does not come back: keys that are its wait, and so do moves of keys. */
export interface Unattended {
  /** Number of the worker, from 0. */
  readonly worker: number;
  /** For how long it has not been back, in milliseconds. */
  readonly forMs: number;
  /** The message it is at, when it is at one. */
  readonly message: { readonly key: Key | undefined; readonly sequence: number; readonly attempt: number } | undefined;
}

/** What a pool is made of. */
export interface KeyedPoolOptions<S extends Shape = 'json', T extends Shape = 'json', M = Shaped<S>> {
  /** The module whose default export handles messages (`Handler`), in each worker: a URL or a path. */
  readonly worker: URL | string;
  /** Messages with equal keys are handled one at a time and in the order in which they were taken in. */
  readonly key?: (message: M) => Key;
  /** `key` (the default), or `unordered`: any message at any worker, at any time. */
  readonly order?: 'key' | 'unordered';
  /** Threads, 1 to 63; by default one fewer than the processor has, and at least one. */
  readonly workers?: number;
  /** How messages cross to workers, `json` by default, and how results come back. `none`: results are undefined. */
  readonly message?: S;
  readonly result?: T;
  /** Bytes of a message's or a result's JSON: 64 to 1,048,576, 1,024 by default. */
  readonly messageBytes?: number;
  /** Messages taken in and not finished: 1 to 16,384, 1,024 by default. */
  readonly inFlight?: number;
  /** How often a message is handed to a handler while workers die of it: 1 to 255, 3 by default. */
  readonly attempts?: number;
  /** Is told of every message of `push` that failed. Without it the next `drain` or `close` rejects with the first. */
  readonly onError?: (error: MessageError) => void;
  /** Is told, within a second, of a worker that does not come back. */
  readonly onUnattended?: (worker: Unattended) => void;
}

/** The same with every default filled in. */
export interface CheckedPoolOptions {
  readonly worker: string;
  readonly key: ((message: unknown) => Key) | undefined;
  readonly ordered: boolean;
  readonly workers: number;
  readonly message: Shape;
  readonly result: Shape;
  readonly messageBytes: number;
  readonly inFlight: number;
  readonly attempts: number;
  readonly onError: ((error: MessageError) => void) | undefined;
  readonly onUnattended: ((worker: Unattended) => void) | undefined;
}

/** Ports of a device are 64; one is the main thread's. */
const WORKERS_MAX = 63;
const MESSAGE_BYTES_MAX = 1 << 20;

function refuse(text: string): never {
  throw new RingwayError('BAD_ARGUMENT', `keyed pool: ${text}`);
}

function whole(field: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  return refuse(`${field}=${value}, must be a whole number from ${least} to ${most}`);
}

function checkShape(field: string, shape: unknown, words: readonly string[]): Shape {
  if (words.includes(shape as string) || (typeof shape === 'object' && shape !== null)) return shape as Shape;
  return refuse(`${field}=${JSON.stringify(shape)}, must be ${words.join(', ')} or the fields of a struct`);
}

/**
 * Checks what a pool is made of, and fills in the defaults.
 * @throws RingwayError `BAD_ARGUMENT` naming the option.
 */
export function checkPoolOptions<S extends Shape, T extends Shape, M>(
  options: KeyedPoolOptions<S, T, M>,
): CheckedPoolOptions {
  const { worker, key, order = 'key', message = 'json', result = 'json', onError, onUnattended } = options;
  if (typeof worker !== 'string' && !(worker instanceof URL)) refuse('worker must be the URL or path of a module');
  if (order !== 'key' && order !== 'unordered') refuse(`order=${JSON.stringify(order)}, must be key or unordered`);
  if (typeof key !== 'function' && (order === 'key' || key !== undefined)) {
    refuse(`key must be a function from a message to its key, or order: 'unordered'`);
  }
  return {
    worker: typeof worker === 'string' && !/^[a-z]{2,}:/i.test(worker) ? pathToFileURL(worker).href : String(worker),
    key: order === 'key' ? (key as (message: unknown) => Key) : undefined,
    ordered: order === 'key',
    workers: whole('workers', options.workers ?? Math.max(1, availableParallelism() - 1), 1, WORKERS_MAX),
    message: checkShape('message', message, ['json']),
    result: checkShape('result', result, ['json', 'none']),
    messageBytes: whole('messageBytes', options.messageBytes ?? 1024, 64, MESSAGE_BYTES_MAX),
    inFlight: whole('inFlight', options.inFlight ?? 1024, 1, IN_FLIGHT_MAX),
    attempts: whole('attempts', options.attempts ?? 3, 1, 255),
    onError,
    onUnattended,
  };
}
