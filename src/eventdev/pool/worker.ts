// The thread of a worker: imports its module, and serves its port until it is told to end.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { packError } from '../../lcore/errors.ts';
import { attachArena } from '../../memory/arena.ts';
import { RingwayError } from '../../util/errors.ts';
import { type Handler, PoolServer } from './server.ts';
import type { WorkerNews, WorkerSetup } from './setup.ts';

async function main(parent: MessagePort, setup: WorkerSetup): Promise<void> {
  // It also keeps the thread alive.
  parent.on('message', () => process.exit(0));
  let handler: Handler;
  try {
    ({ default: handler } = (await import(setup.module)) as { default: Handler });
    if (typeof handler !== 'function') {
      throw new RingwayError('BAD_ARGUMENT', `${setup.module}: its default export is no function (message, context)`);
    }
  } catch (error) {
    parent.postMessage({ failed: packError(error) } satisfies WorkerNews);
    return;
  }
  const server = new PoolServer(attachArena(setup.arena), setup, handler);
  parent.postMessage({} satisfies WorkerNews);
  await server.serve();
}

if (parentPort !== null) await main(parentPort, workerData as WorkerSetup);
