import type { MessageError } from './errors.ts';
import type { PoolIntake } from './intake.ts';
import type { Sink } from './sinks.ts';

/** Bursts that are settled before the event loop gets its turn. */
const BURSTS_PER_TURN = 32;

/** The results of `pushMany`, in bursts. */
export interface ResultBursts<R> extends AsyncIterableIterator<R[]> {
  /** Runs all messages through without a look at their results. Resolves to how many there were. Rejects as the iteration. */
  done(): Promise<number>;
}

type Source = Iterator<unknown> | AsyncIterator<unknown>;

function sourceOf(messages: Iterable<unknown> | AsyncIterable<unknown>): Source {
  return Symbol.asyncIterator in messages ? messages[Symbol.asyncIterator]() : messages[Symbol.iterator]();
}

/** One call of `pushMany`: takes messages from their source while there is room, and gathers results. */
export class ManyRun implements ResultBursts<unknown>, Sink {
  readonly #intake: PoolIntake;
  readonly #signal: AbortSignal | undefined;
  readonly #source: Source;
  wanted = true;
  #results: unknown[] = [];
  /** Messages taken in, and those of them that have not ended. */
  #count = 0;
  #unfinished = 0;
  /** The source's answer that there was no room for, and whether one is on its way. */
  #answer: IteratorResult<unknown> | undefined;
  #asked = false;
  /** Nothing more is wanted of the source. */
  #exhausted = false;
  #over = false;
  #failure: { readonly reason: unknown } | undefined;
  #bursts = 0;
  #wakeUps: (() => void)[] = [];
  readonly #changed = (): void => {
    const wakeUps = this.#wakeUps;
    if (wakeUps.length === 0) return;
    this.#wakeUps = [];
    for (const wakeUp of wakeUps) wakeUp();
  };

  constructor(
    intake: PoolIntake,
    messages: Iterable<unknown> | AsyncIterable<unknown>,
    signal: AbortSignal | undefined,
  ) {
    this.#intake = intake;
    this.#signal = signal;
    this.#source = sourceOf(messages);
    signal?.addEventListener('abort', this.#changed);
    intake.watch(this.#changed);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  ended(result: unknown): void {
    this.#unfinished--;
    if (this.wanted) this.#results.push(result);
  }

  failed(error: MessageError): void {
    this.#unfinished--;
    this.#failure ??= { reason: error };
  }

  async next(): Promise<IteratorResult<unknown[], undefined>> {
    while (!this.#over) {
      if (this.#signal?.aborted) {
        await this.return();
        throw this.#signal.reason;
      }
      this.#fill();
      const n = this.#intake.settle();
      if (n > 0 && ++this.#bursts % BURSTS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
      if (this.#results.length > 0) return { done: false, value: this.#take() };
      if (this.#exhausted && this.#unfinished === 0) {
        this.#end();
        if (this.#failure !== undefined) throw this.#failure.reason;
        break;
      }
      if (n > 0) continue;
      await new Promise<void>((resolve) => {
        this.#wakeUps.push(resolve);
      });
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<unknown[], undefined>> {
    if (!this.#over) {
      this.#end();
      this.wanted = false;
      const returned = this.#exhausted ? undefined : this.#source.return?.();
      this.#exhausted = true;
      // A source that is asked answers first, if ever: nobody waits for that.
      if (this.#asked) Promise.resolve(returned).catch(() => {});
      else await returned;
    }
    return { done: true, value: undefined };
  }

  async done(): Promise<number> {
    this.wanted = false;
    this.#results = [];
    await this.next();
    return this.#count;
  }

  #end(): void {
    this.#over = true;
    this.#signal?.removeEventListener('abort', this.#changed);
    this.#intake.unwatch(this.#changed);
  }

  /** The results that are there. */
  #take(): unknown[] {
    const results = this.#results;
    this.#results = [];
    return results;
  }

  /** Takes messages from the source while there is room. */
  #fill(): void {
    while (!this.#exhausted && this.#intake.room > 0) {
      const answer = this.#answer ?? this.#ask();
      if (answer === undefined) return;
      this.#answer = undefined;
      if (answer.done === true) {
        this.#exhausted = true;
        return;
      }
      try {
        this.#intake.takeIn(answer.value, this);
        this.#count++;
        this.#unfinished++;
      } catch (reason) {
        this.#stop(reason);
      }
    }
  }

  /** The source's next answer; undefined while it is on its way. */
  #ask(): IteratorResult<unknown> | undefined {
    if (this.#asked) return undefined;
    try {
      const answer = this.#source.next();
      if (!('then' in answer)) return answer;
      this.#asked = true;
      answer.then(
        (its) => {
          this.#asked = false;
          this.#answer = its;
          this.#changed();
        },
        (reason) => {
          this.#asked = false;
          this.#exhausted = true;
          this.#failure ??= { reason };
          this.#changed();
        },
      );
    } catch (reason) {
      this.#exhausted = true;
      this.#failure ??= { reason };
    }
    return undefined;
  }

  /** A bad message: what came before it is brought to its end. */
  #stop(reason: unknown): void {
    this.#exhausted = true;
    this.#failure ??= { reason };
    // The source may be told so, and what it says to that is no news.
    void (async () => this.#source.return?.())().catch(() => {});
  }
}
