import { expect, test } from 'vitest';
import { instantiateProgram, programBytes } from '#build/bpf/jit/compile.js';
import * as layout from '#build/bpf/layout.js';
import type { MapDefinition } from '#build/bpf/program.js';
import { prove } from '#build/bpf/verifier/proof.js';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { definition, Rig } from './support.ts';

const WORDS = 'ldxw %r6, [%r1+0]\nldxw %r7, [%r1+4]\n';
const OUT = '\nout: mov %r0, 2\nexit';
/** An address that was moved by a number of the packet, and compared then. */
const BY_NUMBER = `mov %r2, %r6
  add %r2, 14
  jgt %r2, %r7, out
  ldxb %r3, [%r6+0]
  add %r2, %r3
  mov %r4, %r2
  add %r4, 4
  jgt %r4, %r7, out
  ldxw %r0, [%r2+0]`;

/** A program compiled with its proof: bytes with all checks and with those that are left, and what a run gives. */
function proven(text: string, maps: readonly MapDefinition[] = [], fuel = 1_000_000) {
  const rig = new Rig();
  const given = rig.program(text, maps);
  const proof = prove(given.program);
  if (proof === undefined) throw new Error('nothing is proven');
  const bytes = (options: object): Uint8Array =>
    programBytes(rig.arena, given.program, { maps: given.maps, checked: true, fuel, ...options });
  const run = (packet: Uint8Array): { r0: number; fault: number } => {
    rig.place(packet);
    const module = new WebAssembly.Module(bytes({ proof }) as Uint8Array<ArrayBuffer>);
    const r0 = instantiateProgram(rig.arena, module, rig.table).run(rig.context, BigInt(rig.context), 0n);
    return { r0: Number(r0), fault: rig.word(layout.CTX_FAULT) };
  };
  return { proof, saved: bytes({}).length - bytes({ proof }).length, run };
}

test('an address that only the verifier can follow is not checked', () => {
  const { saved, run } = proven(`${WORDS}${BY_NUMBER}${OUT}`);
  expect(saved).toBeGreaterThan(20);
  for (const length of [0, 14, 20, 300]) expect(run(new Uint8Array(length).fill(255))).toEqual({ r0: 2, fault: 0 });
});

test('a program with one access that may go wrong keeps all of its checks', () => {
  const { program } = new Rig().program(`${WORDS}${BY_NUMBER}\nldxb %r0, [%r2+4]${OUT}`);
  expect(prove(program)).toBeUndefined();
});

test('loops that end are not counted, unless that may be more than the fuel', () => {
  const loop = 'mov %r2, 0\nagain: add %r2, 1\njlt %r2, 50, again';
  expect(proven(`${loop}${OUT}`).saved).toBeGreaterThan(20);
  const { saved, run, proof } = proven(`${loop}${OUT}`, [], 60);
  expect(proof.stepsMax).toBeGreaterThan(100);
  expect(saved).toBe(0);
  expect(run(new Uint8Array(64))).toEqual({ r0: 0, fault: layout.FAULT_FUEL });
});

test('rounds of a bpf_loop burn fuel whatever was proven', () => {
  const text = `mov %r1, 0x800000
    lddw %r2, function nothing
    mov %r3, 0
    mov %r4, 0
    call 181
    mov %r0, 2
    exit
    nothing: mov %r0, 0
    exit`;
  const { proof, run } = proven(text);
  expect(proof.stepsMax).toBeUndefined();
  expect(run(new Uint8Array(64))).toEqual({ r0: 0, fault: layout.FAULT_FUEL });
});

test('what a read-only map holds proves nothing, since it may be written before a run', () => {
  const initial = Uint8Array.of(248, 255, 255, 255, 255, 255, 255, 255);
  const rodata = definition('rodata', layout.KIND_ARRAY, {
    flags: layout.MAP_FLAG_RDONLY_PROG,
    maxEntries: 1,
    initial,
  });
  const text = `lddw %r1, value 0 + 0\nldxdw %r2, [%r1+0]\nmov %r3, %r10\nadd %r3, %r2\nldxb %r0, [%r3+0]${OUT}`;
  const { program } = new Rig().program(text, [rodata]);
  expect(verifyProgram(program).accepted).toBe(true);
  expect(prove(program)).toBeUndefined();
});

test('where no way leads to is checked', () => {
  const { program } = new Rig().program(`mov %r2, 1\njeq %r2, 1, out\nldxb %r0, [%r2+0]${OUT}`);
  expect([...(prove(program)?.safe ?? [])]).toEqual([1, 1, 0, 1, 1]);
});
