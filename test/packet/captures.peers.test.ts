import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CaptureWriter, readCapture } from 'ringway/packet';
import { expect, test } from 'vitest';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const captures = join(root, '../shared/captures');
const hasTools = ['capinfos', 'tshark', 'editcap'].every((tool) => spawnSync(tool, ['-v']).error === undefined);
const ready = hasTools && existsSync(captures);
if (!hasTools) console.warn('captures.peers.test.ts is skipped: capinfos, tshark and editcap are not all installed');
else if (!ready) console.warn(`captures.peers.test.ts is skipped in part: there is no folder ${captures}`);

function count(path: string): number {
  let n = 0;
  for (const _ of readCapture(path)) n++;
  return n;
}

/** Packets that capinfos counts; undefined when it does not know the link type and refuses the file. */
function capinfos(path: string): number | undefined {
  const { status, stdout } = spawnSync('capinfos', ['-T', '-r', '-M', '-m', '-c', path], { encoding: 'utf8' });
  return status === 0 ? Number(stdout.trim().split(',').at(-1)) : undefined;
}

/** `seconds.nanoseconds length wire-length` of each frame, as tshark reads the file. */
function tshark(path: string): string[] {
  const fields = ['frame.time_epoch', 'frame.cap_len', 'frame.len'].flatMap((field) => ['-e', field]);
  const text = execFileSync('tshark', ['-r', path, '-T', 'fields', '-E', 'separator=/s', ...fields], {
    encoding: 'utf8',
  });
  return text.trim().split('\n');
}

function ours(path: string): string[] {
  return Array.from(readCapture(path), ({ seconds, nanoseconds, frame, wireLength }) => {
    return `${seconds}.${String(nanoseconds).padStart(9, '0')} ${frame.length} ${wireLength}`;
  });
}

test.skipIf(!ready)('every capture has the packets that capinfos counts', () => {
  const differing: string[] = [];
  let compared = 0;
  for (const name of readdirSync(captures).filter((name) => /\.pcap(ng)?$/.test(name))) {
    const path = join(captures, name);
    const theirs = capinfos(path);
    if (theirs === undefined) continue;
    compared++;
    if (theirs !== count(path)) differing.push(`${name}: ${count(path)}, capinfos ${theirs}`);
  }
  expect(differing).toEqual([]);
  expect(compared).toBeGreaterThan(500);
});

test.skipIf(!hasTools)(
  'files that we write, and what editcap makes of them, have the same times and lengths for tshark',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'ringway-'));
    try {
      for (const format of ['pcap', 'pcapng'] as const) {
        const path = join(folder, `a.${format}`);
        const writer = new CaptureWriter(path, { format });
        for (let i = 0; i < 50; i++) {
          const time = {
            seconds: 1_700_000_000 + i * 7_919,
            nanoseconds: (i * 123_456_789) % 1e9,
            wireLength: 2000 + i,
          };
          writer.write(new Uint8Array(14 + i * 30).fill(i), time);
        }
        writer.close();
        expect(ours(path)).toEqual(tshark(path));
        for (const kind of ['nsecpcap', 'pcapng', 'pcap', 'modpcap']) {
          const copy = join(folder, `b.${format}.${kind}`);
          execFileSync('editcap', ['-F', kind, path, copy]);
          expect(ours(copy), kind).toEqual(tshark(copy));
        }
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
