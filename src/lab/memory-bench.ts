import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { moduleUrl } from '../util/module-url.ts';
import { type Row, rowOf } from './row.ts';
import { makeCapture } from './run-ports.ts';

const execute = promisify(execFile);

/** Packets of the capture that the example replays. */
const CAPTURED = 50_000;
const HEAP_PACKETS = 100_000_000;
const HEAP_WARM_UP = 10_000_000;
const RUN_MS = 120_000;

/** What a program of this folder prints, in a process of its own. */
async function runProgram(program: URL, args: readonly string[]): Promise<string> {
  const argv = ['--expose-gc', fileURLToPath(program), ...args];
  return (await execute(process.execPath, argv, { timeout: RUN_MS })).stdout;
}

/** Highest resident set of a run of the example, in bytes. */
async function measureExample(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'ringway-memory-'));
  try {
    const capture = join(folder, 'in.pcap');
    await makeCapture(capture, CAPTURED);
    const outputs = ['red', 'blue', 'uplink'].map((port) => `ports.${port}.write=${join(folder, port)}`);
    const example = fileURLToPath(new URL('../../examples/edge.yaml', import.meta.url));
    const settings = [`ports.replay.path=${capture}`, ...outputs];
    return Number(await runProgram(moduleUrl('lab/example-run.js'), [example, ...settings]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Bytes of live objects in an lcore's heap, before and after HEAP_PACKETS packets. */
async function measureHeap(): Promise<{ before: number; after: number }> {
  const counts = [`${HEAP_PACKETS + HEAP_WARM_UP}`, `${HEAP_WARM_UP}`];
  return JSON.parse(await runProgram(moduleUrl('lab/heap-run.js'), counts));
}

/**
 * Memory: the highest resident set of a run of examples/edge.yaml, all its threads, buffers and tables together; and
 * the heap of an lcore before and after 10^8 packets went from generator to switch to sink. No samples.
 */
export async function benchMemory(): Promise<Row[]> {
  const peak = await measureExample();
  const { before, after } = await measureHeap();
  const row = (name: string, unit: string, value: number | null, state: Row['state'], note = ''): Row =>
    rowOf({ name, value, unit, p50: null, p99: null, p999: null, state, note }, null);
  return [
    row(
      'memory, example edge',
      'MB',
      peak === 0 ? null : peak / 1e6,
      'several cores',
      peak === 0 ? 'only Linux tells' : '',
    ),
    row('memory, heap of an lcore', 'kB', before / 1e3, 'one core'),
    row('memory, heap 10^8 packets later', 'kB', after / 1e3, 'one core'),
  ];
}
