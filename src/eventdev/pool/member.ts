import { Worker } from 'node:worker_threads';
import { unpackError } from '../../lcore/errors.ts';
import { RingwayError } from '../../util/errors.ts';
import { moduleUrl } from '../../util/module-url.ts';
import type { WorkerNews, WorkerOrder, WorkerSetup } from './setup.ts';

/** How long a worker that was told to end may take before it is ended. */
const END_MS = 1000;

/** A place in the pool for a worker: one thread at a time. */
export class Member {
  readonly id: number;
  /** Threads that died here. */
  deaths = 0;
  /** Those of the last ones that came to nothing. */
  fruitless = 0;
  /** True while a thread serves the port. */
  serves = false;
  #thread: Worker | undefined;
  #ended: Promise<void> = Promise.resolve();
  #ending = false;

  constructor(id: number) {
    this.id = id;
  }

  /** Starts a thread. Resolves when it serves its port; `died` is called when it ends after that, unless `end` was. Rejects when it cannot. */
  start(setup: WorkerSetup, died: (cause: Error) => void): Promise<void> {
    const thread = new Worker(moduleUrl('eventdev/pool/worker.js'), {
      workerData: setup,
      name: `keyed pool ${setup.id}`,
    });
    this.#thread = thread;
    let cause: Error | undefined;
    return new Promise((resolve, reject) => {
      thread.on('error', (error) => {
        cause = error instanceof Error ? error : new Error(String(error));
      });
      thread.once('message', ({ failed }: WorkerNews) => {
        if (failed !== undefined) {
          cause = unpackError(failed);
          void thread.terminate();
          return;
        }
        this.serves = true;
        // The process may end while its workers sleep.
        thread.unref();
        resolve();
      });
      this.#ended = new Promise((ended) => {
        thread.once('exit', (code) => {
          ended();
          const served = this.serves;
          this.serves = false;
          const why = cause ?? new Error(`it ended with exit code ${code}`);
          if (this.#ending) reject(new RingwayError('CLOSED', 'keyed pool: it was closed while it started'));
          else if (served) died(why);
          else reject(why);
        });
      });
    });
  }

  /** Ends the thread: asks it to, when `force` is not set, and sees to it. */
  async end(force: boolean): Promise<void> {
    this.#ending = true;
    const thread = this.#thread;
    if (thread === undefined) return;
    thread.ref();
    if (!force) {
      thread.postMessage({ stop: true } satisfies WorkerOrder);
      const timer = setTimeout(() => void thread.terminate(), END_MS);
      await this.#ended;
      clearTimeout(timer);
      return;
    }
    await thread.terminate();
    await this.#ended;
  }
}
