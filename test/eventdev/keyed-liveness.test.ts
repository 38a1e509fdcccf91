import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

// In the repository, so that programs there find the package.
const folder = mkdtempSync(fileURLToPath(new URL('../support/keyed-programs-', import.meta.url)));
afterAll(() => rmSync(folder, { recursive: true }));

const WORKER = JSON.stringify(new URL('../support/keyed-worker.mjs', import.meta.url).href);

/** Runs a program with a pool; resolves to what it prints once it has ended by itself. */
function run(name: string, body: string, flags: readonly string[] = []): Promise<string> {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(
    file,
    `import { KeyedPool } from 'ringway/eventdev';
    const pool = await KeyedPool.start({ worker: ${WORKER}, key: ({ key }) => key, workers: 2 });
    ${body}`,
  );
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [...flags, file], { timeout: 20_000 }, (error, out, err) => {
      if (error === null) resolve(out.trim());
      else reject(new Error(`${error.message}\n${err}`));
    });
  });
}

test.each([
  ['an idle pool', `await pool.run({ key: 1 }); console.log('idle');`, 'idle'],
  ['a pool that was never used', `console.log('unused');`, 'unused'],
  ['a closed pool', `await pool.push({ key: 1 }); await pool.close(); console.log('closed');`, 'closed'],
  [
    'a pool that was closed by force',
    `pool.run({ key: 1, deed: 'spin', ms: 60000 }).catch((error) => console.log(error.code)); await pool.close({ force: true });`,
    'CLOSED',
  ],
  [
    'a pool whose workers fail',
    `pool.run({ key: 1, deed: 'exit', deaths: 9 }).catch((error) => console.log(error.code));`,
    'WORKER_DIED',
  ],
  [
    'a pool with results on their way',
    `pool.run({ key: 1, deed: 'sleep', ms: 600 }).then(() => console.log('came'));`,
    'came',
  ],
  [
    'a pool with messages on their way',
    `for (let i = 0; i < 3000; i++) pool.push({ key: i });
    process.on('exit', () => console.log(pool.stats().finished));`,
    '3000',
  ],
  [
    'a pool that is drained, with keys that move',
    `for (let i = 0; i < 40; i++) await pool.pushMany(Array.from({ length: 1000 }, (_, key) => ({ key: key % 50 }))).done();
    await new Promise((resolve) => setTimeout(resolve, 50)); console.log('drained');`,
    'drained',
  ],
])('a process ends by itself, and not before: %s', async (name, body, out) => {
  expect(await run(name.replaceAll(' ', '-').replaceAll(',', ''), body)).toBe(out);
});

test('timers and sockets of a handler module live while messages come without a pause', async () => {
  const body = `
    let n = 0;
    const end = performance.now() + 300;
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    function* source() { while (performance.now() < end) yield { key: n++ }; }
    for await (const burst of pool.pushMany(source()));
    clearInterval(timer);
    console.log(ticks > 5);`;
  expect(await run('busy', body)).toBe('true');
});

test('a worker that runs out of memory is replaced, and its message handled again', async () => {
  const body = `const { attempt } = await pool.run({ key: 1, deed: 'grow', deaths: 1 });
    console.log(attempt, pool.stats().workers.map(({ deaths }) => deaths).join('').replace('0', ''));`;
  expect(await run('memory', body, ['--max-old-space-size=48'])).toBe('2 1');
});
