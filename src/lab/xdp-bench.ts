import { Worker } from 'node:worker_threads';
import { type Row, rowOf } from './row.ts';
import type { XdpCase, XdpMeasured } from './xdp-case.ts';
import { DROP, DROP_TOUCHED, SWAP_REDIRECT, SWAP_TX } from './xdp-programs.ts';

/** Where Debian's package xdp-tools has its objects. */
const FILTER = '/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_dny_ip.o';

const CASES: readonly (XdpCase & { readonly name: string })[] = [
  { name: 'xdp, drop, packet not touched', text: DROP, checked: true, ends: 'dropped' },
  { name: 'xdp, drop, packet touched', text: DROP_TOUCHED, checked: true, ends: 'dropped' },
  { name: 'xdp, no program: drop after the switch', checked: true, ends: 'switched' },
  { name: 'xdp, xdpfilt deny by IP', object: FILTER, checked: true, ends: 'dropped' },
  { name: 'xdp, MAC swap and TX', text: SWAP_TX, checked: true, ends: 'sent' },
  { name: 'xdp, MAC swap and redirect', text: SWAP_REDIRECT, checked: true, ends: 'redirected' },
];

/** Runs a case in a thread of its own. */
function runCase(given: XdpCase): Promise<XdpMeasured> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./xdp-case.js', import.meta.url), { workerData: given });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
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
export async function benchXdp(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { name, ...given } of CASES) {
    for (const checked of given.text === undefined && given.object === undefined ? [true] : [true, false]) {
      const measured = await runCase({ ...given, checked });
      const value = measured.value === null ? null : 1000 / measured.value;
      const label = checked ? name : `${name}, trusted`;
      const note = [measured.note, shares(measured)].filter((text) => text !== '').join('; ');
      rows.push(rowOf({ ...measured, name: label, value, unit: 'Mpackets/s', state: 'one core', note }, null));
    }
  }
  return rows;
}
