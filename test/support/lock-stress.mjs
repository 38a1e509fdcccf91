// One of several threads that run a program which counts under a spin lock. A packet that is ended since another thread was
// stopped while it held the lock is none, and runs again.
import { parentPort, workerData } from 'node:worker_threads';
import { attachArena } from '#build/memory/index.js';
import { ProgramThread } from '#build/xdp/thread.js';

const { handle, context, clock, wire, role, packets } = workerData;
const thread = new ProgramThread(attachArena(handle), context, { cpu: role, clock, seed: 1 });
thread.add(wire);
thread.prepare(wire, 1, role);
const { instance } = thread.get(wire.number);
for (let done = 0; done < packets; ) if (instance.run(context, BigInt(context), 0n) !== 0n) done++;
parentPort.postMessage('done');
