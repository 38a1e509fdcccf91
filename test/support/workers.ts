import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

/** Runs a worker of this folder for each of `data`, all at once. Returns the one message that each posts. */
export function runWorkers(file: string, data: readonly unknown[]): Promise<unknown[]> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return Promise.all(
    data.map(async (workerData) => {
      const worker = new Worker(path, { workerData });
      const [message] = await once(worker, 'message');
      await worker.terminate();
      return message;
    }),
  );
}
