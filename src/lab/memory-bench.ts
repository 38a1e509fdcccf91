import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { RingwayError } from '../util/errors.ts';
import { type Row, rowOf } from './row.ts';
import { makeCapture } from './run-ports.ts';

const execute = promisify(execFile);
const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** Packets of the capture that the example replays. */
const CAPTURED = 50_000;
const HEAP_PACKETS = 100_000_000;
const HEAP_WARM_UP = 10_000_000;
const HEAP_RUN_MS = 120_000;
const LOOK_MS = 50;

/** Highest resident set that the process ever had, in bytes; 0 when the system does not say, or it has ended. */
function peakBytes(pid: number): number {
  try {
    // proc(5): VmHWM, in units of 1024 bytes.
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Runs the example until its inputs are used up. Returns the highest resident set that was seen, in bytes. */
async function runExample(folder: string): Promise<number> {
  const capture = join(folder, 'in.pcap');
  await makeCapture(capture, CAPTURED);
  const settings = [
    'name=bench-memory',
    `ports.replay.path=${capture}`,
    ...['red', 'blue', 'uplink'].map((port) => `ports.${port}.write=${join(folder, port)}`),
    'metrics.listen=127.0.0.1:0',
  ];
  const args = [pathOf('../cli/main.js'), 'run', pathOf('../../examples/edge.yaml')];
  const child = spawn(process.execPath, [...args, ...settings.flatMap((setting) => ['--set', setting])], {
    stdio: 'ignore',
  });
  const exit = once(child, 'exit');
  let peak = 0;
  while (child.exitCode === null && child.signalCode === null) {
    peak = Math.max(peak, peakBytes(child.pid ?? 0));
    await Promise.race([sleep(LOOK_MS), exit]);
  }
  if (child.exitCode !== 0) throw new RingwayError('SYSTEM', `bench: the example ended with ${child.exitCode}`);
  return peak;
}

/** Bytes of live objects in an lcore's heap, before and after HEAP_PACKETS packets. */
async function measureHeap(): Promise<{ before: number; after: number }> {
  const args = ['--expose-gc', pathOf('./heap-run.js'), `${HEAP_PACKETS + HEAP_WARM_UP}`, `${HEAP_WARM_UP}`];
  const { stdout } = await execute(process.execPath, args, { timeout: HEAP_RUN_MS });
  return JSON.parse(stdout);
}

/**
 * Memory: the highest resident set of `ringway run examples/edge.yaml`, all its threads, buffers and tables together;
 * and by how much the heap of an lcore grows while 10^8 packets go from generator to switch to sink. No samples.
 */
export async function benchMemory(): Promise<Row[]> {
  const figure = { p50: null, p99: null, p999: null, note: '' };
  const folder = mkdtempSync(join(tmpdir(), 'ringway-memory-'));
  try {
    const peak = await runExample(folder);
    const { before, after } = await measureHeap();
    const resident = peak === 0 ? { value: null, note: 'only Linux tells' } : { value: peak / 1e6 };
    return [
      rowOf({ ...figure, name: 'memory, example edge', unit: 'MB', state: 'several cores', ...resident }, null),
      rowOf({ ...figure, name: 'memory, heap before', value: before / 1e3, unit: 'kB', state: 'one core' }, null),
      rowOf(
        { ...figure, name: 'memory, heap 10^8 packets later', value: after / 1e3, unit: 'kB', state: 'one core' },
        null,
      ),
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}
