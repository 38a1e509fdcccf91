import type { MessageError } from './errors.ts';

/** Who is told what became of a message. */
export interface Sink {
  /** False when nobody looks at results, so that they need not be decoded. */
  readonly wanted: boolean;
  ended(result: unknown): void;
  failed(error: MessageError): void;
}

/** Of records that have no message. */
export const NOBODY: Sink = { wanted: false, ended() {}, failed() {} };

/** Of `run`: settles a promise, once. */
export class RunSink implements Sink {
  readonly wanted = true;
  readonly #resolve: (result: unknown) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): void => this.#reject(this.#signal?.reason);

  constructor(resolve: (result: unknown) => void, reject: (reason: unknown) => void, signal: AbortSignal | undefined) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#abort, { once: true });
  }

  ended(result: unknown): void {
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#resolve(result);
  }

  failed(error: unknown): void {
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#reject(error);
  }
}

/** Of `push`: failures go to the handler that the pool was given, or wait for `drain`. */
export class PushSink implements Sink {
  readonly wanted = false;
  readonly #onError: ((error: MessageError) => void) | undefined;
  #first: MessageError | undefined;

  constructor(onError: ((error: MessageError) => void) | undefined) {
    this.#onError = onError;
  }

  ended(): void {}

  failed(error: MessageError): void {
    if (this.#onError === undefined) {
      this.#first ??= error;
      return;
    }
    try {
      this.#onError(error);
    } catch (thrown) {
      // An error in it is the program's, and must not keep other results from their callers.
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }

  /** The first failure since the last call, that nobody was told of. */
  take(): MessageError | undefined {
    const error = this.#first;
    this.#first = undefined;
    return error;
  }
}
