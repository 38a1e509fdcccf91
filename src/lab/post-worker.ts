// The other end of a bare worker: answers each message with the handler's result.
import { parentPort } from 'node:worker_threads';
import handle from './keyed-handler.ts';

parentPort?.on('message', (message: Parameters<typeof handle>[0]) => parentPort?.postMessage(handle(message)));
