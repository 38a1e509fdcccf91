import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type PeerFigure, reasonOf } from './peers.ts';

const run = promisify(execFile);
const RUN_MS = 60_000;
/** No name that a file here may have: tcpreplay would take `out` for the folder that the example writes to. */
const INTERFACE = 'rwbench0';

/** Runs a program; returns how long it took, in ms, and what it said. */
async function timed(program: string, args: readonly string[]): Promise<{ ms: number; said: string }> {
  const from = performance.now();
  const { stdout, stderr } = await run(program, [...args], { timeout: RUN_MS });
  return { ms: performance.now() - from, said: stdout + stderr };
}

/** Wireshark's editcap, which reads a capture and writes it again: million packets a second, its start included. */
export async function runEditcap(from: string, to: string, packets: number): Promise<PeerFigure> {
  try {
    const { ms } = await timed('editcap', [from, to]);
    return { value: packets / ms / 1000, note: '' };
  } catch (error) {
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  }
}

/**
 * tcpreplay, which sends a capture's packets to an interface as fast as it can: to a veth, whose other end drops them,
 * in a network namespace made for it. Million packets a second, by its own account. Needs root.
 */
export async function runTcpreplay(from: string): Promise<PeerFigure> {
  const name = `ringway-bench-${process.pid}`;
  const within = ['-n', name, 'link'];
  try {
    await run('ip', ['netns', 'add', name]);
  } catch (error) {
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  }
  try {
    await run('ip', [...within, 'add', INTERFACE, 'type', 'veth', 'peer', 'name', 'sink']);
    for (const end of [INTERFACE, 'sink']) await run('ip', [...within, 'set', end, 'up']);
    const args = ['netns', 'exec', name, 'tcpreplay', '--quiet', '--topspeed', `--intf1=${INTERFACE}`, from];
    const { said } = await timed('ip', args);
    const rate = /([\d.]+) pps/.exec(said)?.[1];
    if (rate === undefined) return { value: null, note: 'no peer: tcpreplay gave no rate' };
    return { value: Number.parseFloat(rate) / 1e6, note: '' };
  } catch (error) {
    return { value: null, note: `no peer: ${reasonOf(error)}` };
  } finally {
    await run('ip', ['netns', 'delete', name]);
  }
}
