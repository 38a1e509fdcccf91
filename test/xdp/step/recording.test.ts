import { buildFrame } from 'ringway/packet';
import { loadXdp, type XdpOptions } from 'ringway/xdp';
import { expect, test } from 'vitest';
import { Recording, StepTap } from '#build/xdp/step/recording.js';

const example = (name: string): string => new URL(`../../../examples/xdp/${name}.o`, import.meta.url).pathname;
const frame = buildFrame({
  ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
  ipv4: { source: '10.0.0.1', destination: '192.0.2.1' },
  udp: { sourcePort: 1, destinationPort: 53 },
});

async function load(name: string, options: XdpOptions = {}) {
  const tap = new StepTap();
  const program = await loadXdp(example(name), { engine: 'interpreter', onStep: tap.onStep, ...options });
  return { tap, program };
}

/** What a debugger looks at: registers, and all memory, as one number. */
const digest = (registers: BigUint64Array | undefined, memory: Uint8Array): string => {
  let hash = 7;
  for (let at = 0; at < memory.length; at++) hash = (Math.imul(hash, 31) + (memory[at] ?? 0)) | 0;
  return `${registers?.join() ?? 'end'} ${hash}`;
};

test('registers and memory at each moment are what they were, whatever order it is gone to', async () => {
  const { tap, program } = await load('drop-list');
  program.maps.denied?.set({ prefixlen: 8, addr: Uint8Array.of(10, 0, 0, 0) }, 3n);
  // The region that changes: the program's memory has megabytes of map behind it.
  const region = program.memory.subarray(program.context - 131_072, program.context + 8192);
  const restore = program.save();
  const seen: string[] = [];
  tap.listener = ({ registers }) => seen.push(digest(registers, region));
  const direct = program.run(frame);
  seen.push(digest(undefined, region));
  restore();
  const recording = new Recording(program, tap, frame);
  expect(recording.moments.length).toBe(seen.length - 1);
  expect(recording.result.action).toBe(direct.action);
  const order = seen.map((_, index) => (index * 17) % seen.length);
  expect(new Set(order).size).toBe(seen.length);
  for (const at of order) expect(digest(recording.goTo(at), region)).toBe(seen[at]);
  recording.goTo(recording.moments.length);
  expect([...(program.maps.denied ?? [])][0]?.[1]).toBe(4n);
  recording.goTo(0);
  expect([...(program.maps.denied ?? [])][0]?.[1]).toBe(3n);
});

test('time and chance are the same at each look', async () => {
  const { tap, program } = await load('rate-limit', { variables: { rate: 1, burst: 1 } });
  program.run(frame);
  const recording = new Recording(program, tap, frame);
  expect(recording.result.action).toBe('DROP');
  for (let round = 0; round < 3; round++) {
    recording.goTo(recording.moments.length);
    expect(program.maps.packets?.get(1)).toEqual([1n]);
  }
});

test('a run that is looked at leaves nothing to hear', async () => {
  const { tap, program } = await load('l2-forward');
  const recording = new Recording(program, tap, frame);
  recording.goTo(2);
  expect(tap.listener).toBeUndefined();
});
