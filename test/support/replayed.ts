import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Snapshot } from 'ringway';
import { RingwayError } from 'ringway/memory';
import { type CapturedFrame, readCapture } from 'ringway/packet';
import { problemsOf, start } from './dataplanes.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
/** A set of real and hostile captures that is kept beside the repository. */
export const captures = join(root, '../shared/captures');

/** Names of the captures, in order; none when the folder is missing. */
export function captureNames(): string[] {
  return existsSync(captures)
    ? readdirSync(captures)
        .filter((name) => /\.(pcap|pcapng|cap)$/.test(name))
        .sort()
    : [];
}

/** A frame in a line: time, lengths and a hash of its bytes. */
function lineOf({ seconds, nanoseconds, frame, wireLength }: CapturedFrame): string {
  const hash = createHash('sha1').update(frame).digest('base64');
  return `${seconds}.${nanoseconds} ${frame.length}/${Math.max(frame.length, wireLength)} ${hash}`;
}

/** Ethernet frames of a capture as lines, how many others it has, and why it breaks. */
function read(path: string) {
  const lines: string[] = [];
  const runts: string[] = [];
  let others = 0;
  try {
    for (const frame of readCapture(path)) {
      if (frame.linkType !== 1) others++;
      else if (frame.frame.length < 14) runts.push(lineOf(frame));
      else lines.push(lineOf(frame));
    }
  } catch (error) {
    return { lines, runts, others, broken: (error as Error).message };
  }
  return { lines, runts, others, broken: undefined };
}

/** The configuration that carries `input` to `output` whole. */
export function replayConfig(input: string, output: string, name = 'replay'): Record<string, unknown> {
  return {
    version: 1,
    name,
    memory: '128MiB',
    lcores: [{ idle: 'park' }],
    ports: { in: { type: 'capture', path: input, learn: false }, out: { type: 'capture', write: output } },
    switch: { reserved: 'forward' },
  };
}

/** What is wrong with `output` as a replay of `input` whose last snapshot is `last`. */
export function compareReplay(input: string, output: string, last: Pick<Snapshot, 'drops'>, fault?: string): unknown[] {
  const { lines, runts, others, broken } = read(input);
  const got = read(output);
  const problems: unknown[] = [];
  const drops = {
    ...(runts.length > 0 ? { runt: runts.length } : {}),
    ...(others > 0 ? { 'link-type': others } : {}),
  };
  const dropped = { ...last.drops };
  if (JSON.stringify(Object.entries(dropped).sort()) !== JSON.stringify(Object.entries(drops).sort())) {
    problems.push({ dropped, expected: drops });
  }
  if (fault !== broken) problems.push({ fault, broken });
  if (got.broken !== undefined) problems.push({ output: got.broken });
  const differ = lines.findIndex((line, i) => line !== got.lines[i]);
  if (differ >= 0) problems.push({ at: differ, expected: lines[differ], got: got.lines[differ] });
  if (got.lines.length !== lines.length) problems.push({ frames: got.lines.length, expected: lines.length });
  return problems;
}

/** Replays the capture `name` to `output`. Returns what is wrong; nothing when it is refused as it should be. */
export async function replayCapture(name: string, output: string): Promise<unknown[]> {
  const input = join(captures, name);
  let last: Snapshot;
  try {
    const dataplane = await start(replayConfig(input, output));
    await dataplane.finished;
    last = await dataplane.stop();
  } catch (error) {
    const { lines } = read(input);
    const isRefusal = error instanceof RingwayError && error.code === 'BAD_CAPTURE' && lines.length === 0;
    return isRefusal ? [] : [{ refused: String(error), frames: lines.length }];
  }
  return [...problemsOf(last), ...compareReplay(input, output, last, last.ports[0]?.fault)];
}
