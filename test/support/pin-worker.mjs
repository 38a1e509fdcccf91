// Pins itself to the CPU it is given and answers where it may run afterwards.
import { parentPort, workerData } from 'node:worker_threads';
import { requireSys } from '#build/sys/index.js';

const sys = requireSys('the test');
sys.pinThread(workerData);
parentPort.postMessage(sys.currentCpus());
