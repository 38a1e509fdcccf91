import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NOT_WANTED, type PeerFigure, type Peers } from './peers.ts';
import { runEditcap, runTcpreplay } from './replay-peers.ts';
import { type Row, rowOf } from './row.ts';
import { makeCapture, runPorts } from './run-ports.ts';
import { median } from './windows.ts';

/** A capture of 560 MB. */
const PACKETS = 1_500_000;
/** Runs that count, behind one in which the kernels are compiled. */
const RUNS = 3;
/** The median of `RUNS` runs, and that of the peer's runs between them. */
export async function alternate(
  ours: () => Promise<number>,
  peer: (() => Promise<PeerFigure>) | undefined,
): Promise<{ value: number; peer: PeerFigure }> {
  await ours();
  const values: number[] = [];
  const peers: PeerFigure[] = [];
  for (let i = 0; i < RUNS; i++) {
    values.push(await ours());
    if (peer !== undefined) peers.push(await peer());
  }
  const missing = peer === undefined ? NOT_WANTED : peers.find((figure) => figure.value === null);
  return {
    value: median(values),
    peer: missing ?? { value: median(peers.map((figure) => figure.value ?? 0)), note: '' },
  };
}

/**
 * Replaying: a capture through the switch into another one, by a whole dataplane with threads of its own; to a file,
 * beside editcap; to /dev/null, so that the system's part in writing shows; and to nowhere, beside tcpreplay. Each in
 * packets, and in bytes of the capture that is read. No samples.
 */
export async function benchReplay(peers: Peers): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'ringway-replay-'));
  const from = join(folder, 'in.pcap');
  const to = join(folder, 'out.pcap');
  const capture = { type: 'capture', path: from, learn: false };
  const rows: Row[] = [];
  const run = async (
    lcores: number,
    out: object,
    what: string,
    peer: { name: string; run: () => Promise<PeerFigure> },
  ): Promise<void> => {
    const ours = (): Promise<number> => runPorts({ lcores, ports: { in: capture, out }, to: 'out', packets: PACKETS });
    const result = await alternate(ours, peers.wanted ? peer.run : undefined);
    const gigabytes = statSync(from).size / PACKETS / 1000;
    for (const [unit, factor] of [
      ['Mpackets/s', 1],
      ['GB/s', gigabytes],
    ] as const) {
      const name = `replay ${what}, ${lcores} lcore${lcores === 1 ? '' : 's'}`;
      const figure = { name, value: result.value * factor, unit, p50: null, p99: null, p999: null, note: '' };
      const { value, note } = result.peer;
      rows.push(
        rowOf(
          { ...figure, state: lcores === 1 ? 'one core' : 'several cores' },
          { name: peer.name, value: value === null ? null : value * factor, note },
        ),
      );
    }
  };
  try {
    await makeCapture(from, PACKETS);
    for (const lcores of [1, 2]) {
      const editcap = { name: 'editcap', run: () => runEditcap(from, to, PACKETS) };
      await run(lcores, { type: 'capture', write: to }, 'to a file', editcap);
      const nowhere = { name: 'editcap', run: () => runEditcap(from, '/dev/null', PACKETS) };
      await run(lcores, { type: 'capture', write: '/dev/null' }, 'to /dev/null', nowhere);
    }
    await run(1, { type: 'null' }, 'unwritten', { name: 'tcpreplay', run: () => runTcpreplay(from) });
    return rows;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
