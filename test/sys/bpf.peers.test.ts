import type { RingwayError } from 'ringway/memory';
import { expect, test } from 'vitest';
import { assemble } from '#build/bpf/assemble.js';
import { encodeInstructions } from '#build/bpf/instruction.js';
import { bpfUnavailable, type KernelBpf, requireBpf } from '#build/sys/index.js';

const reason = bpfUnavailable();
const bpf = reason === undefined ? requireBpf() : (undefined as unknown as KernelBpf);
if (reason !== undefined) console.warn(`bpf.peers.test.ts is skipped: ${reason}`);
const on = test.skipIf(reason !== undefined);

const codeOf = (text: string): Uint8Array => encodeInstructions(assemble(text));
const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const packet = Uint8Array.from({ length: 64 }, (_, index) => index);

function errorOf(run: () => unknown): RingwayError {
  try {
    run();
  } catch (error) {
    return error as RingwayError;
  }
  throw new Error('nothing was thrown');
}

on('a program runs on a packet and changes it', () => {
  const program = bpf.progLoad(
    codeOf(`ldxw %r2, [%r1]
      ldxw %r3, [%r1+4]
      mov %r4, %r2
      add %r4, 14
      jgt %r4, %r3, out
      stb [%r2+1], 99
      out: mov %r0, 3
      exit`),
    { name: 'touch' },
  );
  const { retval, dataOut, durationNs } = bpf.progTestRun(program, { dataIn: packet });
  expect(retval).toBe(3);
  expect([...dataOut]).toEqual([0, 99, ...packet.subarray(2)]);
  expect(durationNs).toBeGreaterThanOrEqual(0);
  expect(bpf.progTestRun(program, { dataIn: packet, repeat: 1000 }).retval).toBe(3);
  bpf.close(program);
  expect(errorOf(() => bpf.close(program)).code).toBe('SYSTEM');
  expect(errorOf(() => bpf.progTestRun(program, { dataIn: packet })).message).toMatch(/PROG_TEST_RUN.*EBADF/);
});

on('a context gives the metadata, and comes back', () => {
  const program = bpf.progLoad(
    codeOf(`ldxw %r2, [%r1+8]
      ldxw %r3, [%r1]
      mov %r4, %r2
      add %r4, 4
      jgt %r4, %r3, none
      ldxw %r0, [%r2]
      exit
      none: mov %r0, 1
      exit`),
  );
  const ctxIn = new Uint8Array(24);
  new DataView(ctxIn.buffer).setUint32(0, 4, true);
  new DataView(ctxIn.buffer).setUint32(4, 64, true);
  const { retval, dataOut, ctxOut } = bpf.progTestRun(program, { dataIn: packet, ctxIn });
  expect(retval).toBe(0x03020100);
  expect(dataOut).toHaveLength(64);
  expect(new DataView((ctxOut as Uint8Array).buffer).getUint32(4, true)).toBe(64);
  bpf.close(program);
});

on('a program that the kernel refuses is an error with what its verifier says', () => {
  const error = errorOf(() => bpf.progLoad(codeOf('ldxb %r0, [%r2]\nexit'), { name: 'bad one' }));
  expect(error.code).toBe('SYSTEM');
  expect(error.message).toMatch(/PROG_LOAD bad one\): EACCES\n[\s\S]*R2 !read_ok/);
});

on('maps: update, look up, go through, delete, freeze', () => {
  const map = bpf.mapCreate({ kind: 1, keyBytes: 4, valueBytes: 8, maxEntries: 4, name: 'hits/4' });
  const value = (byte: number): Uint8Array => new Uint8Array(8).fill(byte);
  expect(bpf.mapLookup(map, u32(7), 8)).toBeUndefined();
  expect(bpf.mapNextKey(map, undefined, 4)).toBeUndefined();
  bpf.mapUpdate(map, u32(7), value(1));
  bpf.mapUpdate(map, u32(8), value(2), 1);
  expect(errorOf(() => bpf.mapUpdate(map, u32(8), value(2), 1)).message).toMatch('EEXIST');
  expect(bpf.mapLookup(map, u32(8), 8)).toEqual(value(2));
  const first = bpf.mapNextKey(map, undefined, 4) as Uint8Array;
  const second = bpf.mapNextKey(map, first, 4) as Uint8Array;
  expect([first[0], second[0]].sort()).toEqual([7, 8]);
  expect(bpf.mapNextKey(map, second, 4)).toBeUndefined();
  expect(bpf.mapDelete(map, u32(7))).toBe(true);
  expect(bpf.mapDelete(map, u32(7))).toBe(false);
  bpf.mapFreeze(map);
  expect(errorOf(() => bpf.mapUpdate(map, u32(7), value(1))).message).toMatch('EPERM');
  bpf.close(map);
  expect(errorOf(() => bpf.mapCreate({ kind: 2, keyBytes: 8, valueBytes: 8, maxEntries: 1 })).message).toMatch(
    'MAP_CREATE of kind 2, keys 8, values 8, 1 entries): EINVAL',
  );
});

on('a program reaches a map by its descriptor', () => {
  const map = bpf.mapCreate({ kind: 2, keyBytes: 4, valueBytes: 8, maxEntries: 1 });
  const code = assemble(`lddw %r1, ${map}
    stw [%r10-4], 0
    mov %r2, %r10
    add %r2, -4
    call map_lookup_elem
    jeq %r0, 0, exit
    mov %r1, 5
    lock add [%r0], %r1
    ldxw %r0, [%r0]
    exit`);
  const program = bpf.progLoad(encodeInstructions([{ ...code[0], src: 1 } as (typeof code)[0], ...code.slice(1)]));
  expect(bpf.progTestRun(program, { dataIn: packet, repeat: 3 }).retval).toBe(15);
  expect(bpf.mapLookup(map, u32(0), 8)?.[0]).toBe(15);
  bpf.close(program);
  bpf.close(map);
});

on('what does not fit a call is refused before it', () => {
  expect(errorOf(() => bpf.progTestRun(1, { dataIn: new Uint8Array(200_000) })).code).toBe('BAD_ARGUMENT');
  expect(errorOf(() => bpf.mapLookup(1, u32(0), 200_000)).code).toBe('BAD_ARGUMENT');
});
