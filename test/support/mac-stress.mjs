// An lcore that learns and looks up addresses in a table which another one fills as well. Stations of ports 0 to 9
// never move; others come up at random ports, so that entries change hands all the time.
import { parentPort, workerData } from 'node:worker_threads';
import { attachArena } from '#build/memory/index.js';

const { handle, path, sw, rounds, lcore } = workerData;
const { switchLearn, switchLookup } = attachArena(handle).kernels();
/** As the table's kernels key an address: the MAC, VLAN 1, in use. */
const keyOf = (station) => BigInt(station) | (1n << 48n) | (1n << 60n);
const SECONDS = 1_700_000_000;
const STABLE = 200;
const STATIONS = 400;
const keys = Array.from({ length: STATIONS }, (_, station) => keyOf(0x020000000000 + station * 0x10001));

let state = lcore * 77 + 1;
function random(limit) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
}

function run() {
  let found = 0;
  for (let round = 0; round < rounds; round++) {
    const station = random(STATIONS);
    switchLearn(path, sw, SECONDS, keys[station], station < STABLE ? station % 10 : 10 + random(10));
    const asked = random(STATIONS);
    const port = switchLookup(sw, SECONDS, keys[asked]);
    if (port === -1) continue;
    found++;
    const isRight = asked < STABLE ? port === asked % 10 : port >= 10 && port < 20;
    if (!isRight) return `lcore ${lcore}, round ${round}: station ${asked} at port ${port}`;
  }
  return found > rounds / 10 ? 'done' : `only ${found} found`;
}

parentPort.postMessage(run());
