import { existsSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { KeyedPool } from 'ringway/eventdev';
import { readTransfers, writeTransfers } from './transfers.mjs';
import check from './worker.mjs';

const ACCOUNTS = 1000;
const lines = Number(process.argv[2] ?? 1_000_000);
const file = process.argv[3] ?? join(tmpdir(), `ringway-transfers-${lines}.csv`);

/** What the accounts come to. Each must see its transfers in the order of the file. */
class Ledger {
  #numbers = new Uint32Array(ACCOUNTS);
  balances = new Float64Array(ACCOUNTS);
  booked = 0;
  forged = 0;

  book({ account, number, cents, valid }) {
    const expected = ++this.#numbers[account];
    if (number !== expected) throw new Error(`account ${account}: transfer ${number} came instead of ${expected}`);
    this.booked++;
    if (valid) this.balances[account] += cents;
    else this.forged++;
  }
}

if (!existsSync(file)) {
  console.log(`writing ${lines} transfers to ${file}`);
  writeTransfers(file, lines, ACCOUNTS);
}

const single = new Ledger();
let start = performance.now();
for (const transfer of readTransfers(file)) single.book(check(transfer));
const singleMs = performance.now() - start;
console.log(`one thread: ${single.booked} transfers in ${(singleMs / 1000).toFixed(2)} s`);

const workers = Math.max(1, availableParallelism());
const pool = await KeyedPool.start({
  worker: new URL('worker.mjs', import.meta.url),
  key: ({ account }) => account,
  workers,
  message: { account: 'u32', line: { utf8: 200 } },
  result: { account: 'u32', number: 'u32', cents: 'i32', valid: 'bool' },
});
const parallel = new Ledger();
start = performance.now();
for await (const results of pool.pushMany(readTransfers(file))) for (const result of results) parallel.book(result);
const parallelMs = performance.now() - start;
const moved = pool.stats().workers.reduce((sum, { movedAway }) => sum + movedAway, 0);
await pool.close();

console.log(`${workers} workers: ${parallel.booked} transfers in ${(parallelMs / 1000).toFixed(2)} s, ${moved} moves`);
const same = parallel.balances.every((balance, account) => balance === single.balances[account]);
if (!same || parallel.booked !== single.booked) throw new Error('the balances differ');
console.log(`every account in order, ${parallel.forged} forged, balances equal`);
console.log(`speed-up: ${(singleMs / parallelMs).toFixed(2)}`);
