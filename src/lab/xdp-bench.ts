import { Worker } from 'node:worker_threads';
import { moduleUrl } from '../util/module-url.ts';
import type { PeerFigure, Peers } from './peers.ts';
import { type Row, rowOf } from './row.ts';
import type { XdpCase, XdpMeasured } from './xdp-case.ts';
import type { EngineFigures } from './xdp-engines.ts';
import { DROP, DROP_TOUCHED, SWAP_REDIRECT, SWAP_TX } from './xdp-programs.ts';

/** Where Debian's package xdp-tools has its objects. */
const FILTER = '/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_dny_ip.o';

const CASES: readonly (XdpCase & { readonly name: string })[] = [
  { name: 'xdp, drop, packet not touched', text: DROP, checked: true, ends: 'dropped' },
  {
    name: 'xdp, drop, packet not touched, pool without caches',
    text: DROP,
    checked: true,
    detour: true,
    ends: 'dropped',
  },
  { name: 'xdp, drop, packet touched', text: DROP_TOUCHED, checked: true, ends: 'dropped' },
  { name: 'xdp, no program: drop after the switch', checked: true, ends: 'switched' },
  { name: 'xdp, xdpfilt deny by IP', object: FILTER, checked: true, ends: 'dropped' },
  { name: 'xdp, MAC swap and TX', text: SWAP_TX, checked: true, ends: 'sent' },
  { name: 'xdp, MAC swap and redirect', text: SWAP_REDIRECT, checked: true, ends: 'redirected' },
];

/** Resolves with what a thread of its own posts. */
function ask<T>(module: URL, workerData: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(module, { workerData });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

/** Each case is run so often, all others in between, and the best counts: the machine's speed changes within minutes. */
const PASSES = 3;

const runCase = (given: XdpCase): Promise<XdpMeasured> => ask(moduleUrl('lab/xdp-case.js'), given);

/** What each case measured in its best pass. */
async function runCases(cases: readonly XdpCase[]): Promise<XdpMeasured[]> {
  const best: XdpMeasured[] = [];
  for (let pass = 0; pass < PASSES; pass++) {
    for (const [index, given] of cases.entries()) {
      const measured = await runCase(given);
      const other = best[index]?.value ?? Number.POSITIVE_INFINITY;
      if (best[index] === undefined || (measured.value ?? Number.POSITIVE_INFINITY) < other) best[index] = measured;
    }
  }
  return best;
}

/** Programs alone: compiled beside the kernel's, checked beside trusted, compiled beside interpreted. */
async function benchEngines(peers: Peers): Promise<Row[]> {
  const figures = await ask<EngineFigures[]>(moduleUrl('lab/xdp-engines.js'), peers.wanted);
  const row = (name: string, value: number, peer: string, other: PeerFigure, note = ''): Row => {
    const nothing = { p50: null, p99: null, p999: null };
    const figure = { ...nothing, name, value, unit: 'ns', state: 'one core' as const, note: note || other.note };
    return rowOf(figure, { name: peer, value: other.value, note: other.note });
  };
  return figures.flatMap(({ name, steps, trusted, verified, checked, interpreted, kernel }) => [
    row(`xdp alone, ${name}`, trusted, "kernel's JIT", kernel, `${steps} instructions`),
    row(`xdp alone, ${name}, checked`, checked, "kernel's JIT", kernel),
    row(`xdp alone, ${name}, checked`, checked, 'trusted', { value: trusted, note: '' }),
    row(`xdp alone, ${name}, verified`, verified, 'checked', { value: checked, note: '' }),
    row(`xdp alone, ${name}`, trusted, 'interpreter', { value: interpreted, note: '' }),
  ]);
}

/** Shares of the time of the stages, in words; what is left is JavaScript between them. */
function shares({ value, stages }: XdpMeasured): string {
  if (value === null) return '';
  const parts = Object.entries(stages).filter(([, ns]) => ns > 0);
  const rest = Math.max(0, value - parts.reduce((sum, [, ns]) => sum + ns, 0));
  return [...parts, ['JavaScript', rest] as const]
    .map(([name, ns]) => `${name} ${Math.round((ns / value) * 100)} %`)
    .join(', ');
}

/**
 * XDP programs at the hook of a port: packets of a receive ring of 8,192 buffers, 4,096 flows, 64 bytes, through a lcore's
 * whole poll on one core. Samples are a burst of 32.
 */
export async function benchXdp(peers: Peers): Promise<Row[]> {
  const cases = CASES.flatMap(({ name, ...given }) => {
    const isOne = given.detour === true || (given.text === undefined && given.object === undefined);
    return (isOne ? [true] : [true, false]).map((checked) => ({
      name: checked ? name : `${name}, trusted`,
      given: { ...given, checked },
    }));
  });
  const all = await runCases(cases.map(({ given }) => given));
  const rows = all.map((measured, index) => {
    const { name } = cases[index] as (typeof cases)[0];
    const value = measured.value === null ? null : 1000 / measured.value;
    const note = [measured.note, shares(measured), `best of ${PASSES}`].filter((text) => text !== '').join('; ');
    return rowOf({ ...measured, name, value, unit: 'Mpackets/s', state: 'one core', note }, null);
  });
  return [...rows, ...(await benchEngines(peers))];
}
