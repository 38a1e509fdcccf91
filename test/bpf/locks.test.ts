import { readFileSync } from 'node:fs';
import { loadXdp, type RunResult, type XdpOptions } from 'ringway/xdp';
import { expect, test } from 'vitest';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { createContext } from '#build/bpf/context.js';
import { interpret } from '#build/bpf/interpreter.js';
import { compileProgram, instantiateProgram } from '#build/bpf/jit/compile.js';
import { CTX_BYTES, CTX_FAULT, CTX_FAULT_PC, CTX_LOCK, FAULT_LOCK, MAP_VALUES } from '#build/bpf/layout.js';
import { createMap } from '#build/bpf/maps/create.js';
import { linkProgram, loadObject } from '#build/bpf/object/load.js';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { LoadedObject } from '#build/xdp/object.js';
import { testArena } from '../support/arena.ts';
import { runWorkers } from '../support/workers.ts';

const path = new URL('object/fixtures/locks.o', import.meta.url).pathname;
const object = loadObject(readFileSync(path), { file: path });
const [TOTALS] = object.maps;
const total = ({ maps }: RunResult): unknown => maps.totals?.get(0);

test.each<XdpOptions>([{ engine: 'jit' }, { engine: 'jit', trusted: true }, { engine: 'interpreter' }])(
  'what a lock guards is counted, and the lock is free afterwards: %o',
  async (options) => {
    const program = await loadXdp(path, options);
    const actions = [0, 0, 1, 1, 1].map((rxQueue) => program.run(new Uint8Array(60), { rxQueue }).action);
    expect(actions).toEqual(['DROP', 'PASS', 'DROP', 'PASS', 'PASS']);
    expect(program.maps.totals?.get(0)).toMatchObject({ packets: 5n, bytes: 300n, lock: { val: 0 } });
    expect(program.maps.queues?.get(1)).toMatchObject({ id: 7, packets: 3n, bytes: 120n, lock: { val: 0 } });
  },
);

test('the verifier takes it', () => {
  expect(verifyProgram(linkProgram(object)).accepted).toBe(true);
});

test('a lock that somebody keeps ends the program, and an update does not free it', async () => {
  for (const engine of ['jit', 'interpreter'] as const) {
    const program = await loadXdp(path, { engine });
    const map = program.maps.totals;
    const word = (((map?.ranges()[0]?.address ?? 0) + 4) >>> 2) as number;
    const words = new Uint32Array(program.memory.buffer);
    words[word] = 1;
    const result = program.run(new Uint8Array(60));
    expect(result.action).toBe('ABORTED');
    expect(result.fault?.reason).toMatch(/^takes or gives back a spin lock/);
    expect(result.fault?.place).toContain('bpf_spin_lock(&account->lock)');
    map?.set(0, { id: 3, lock: { val: 0 }, packets: 9n, bytes: 8n });
    expect(words[word]).toBe(1);
    // Who reads a value does not see who has the lock.
    expect(total(result)).toEqual({ id: 3, lock: { val: 0 }, packets: 9n, bytes: 8n });
    words[word] = 0;
    expect(program.run(new Uint8Array(60)).action).toBe('DROP');
  }
});

test('a new value of a hash has a free lock', async () => {
  const { maps, memory } = await loadXdp(path);
  maps.queues?.set(5, { lock: { val: 1 }, id: 1 });
  maps.queues?.set(5, { lock: { val: 1 }, id: 2 });
  const [range = { address: 0, bytes: 0 }] = maps.queues?.ranges() ?? [];
  const words = new Uint32Array(memory.slice(range.address, range.address + range.bytes).buffer);
  // Ids are at the start of each value of 24 bytes, locks behind them.
  const locks = [...words.keys()].filter((at) => at % 6 === 1).map((at) => words[at]);
  expect(words.includes(2)).toBe(true);
  expect(new Set(locks)).toEqual(new Set([0]));
});

const value =
  'stw [%r10-4], 0\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, map 0\ncall map_lookup_elem\njeq %r0, 0, out\nmov %r7, %r0\nadd %r7, 4';
const LOCK = 'mov %r1, %r7\ncall spin_lock';
const UNLOCK = 'mov %r1, %r7\ncall spin_unlock';

/** Runs a checked program with a map of locks in both engines: what it returns, its fault, and what is left of locks. */
function runChecked(text: string): { r0: bigint; fault: number; pc: number; held: number; word: number } {
  const outcomes = (['interpreter', 'jit'] as const).map((engine) => {
    const arena = testArena();
    const map = createMap(arena, TOTALS as NonNullable<typeof TOTALS>, { cpus: 1 });
    const context = createContext(arena, { maps: [map] });
    const program = programOf(assemble(`${text}\nout: mov %r0, 2\nexit`), 'program', [
      TOTALS as NonNullable<typeof TOTALS>,
    ]);
    const word = (address: number): number => arena.u32[address >>> 2] ?? 0;
    const r0 =
      engine === 'interpreter'
        ? interpret({ arena, context, program, maps: [map.address], checked: true }).r0
        : instantiateProgram(arena, compileProgram(arena, program, { maps: [map], checked: true })).run(
            context,
            BigInt(context),
            0n,
          );
    return {
      r0,
      fault: word(context + CTX_FAULT),
      pc: word(context + CTX_FAULT_PC),
      held: word(context + CTX_LOCK),
      word: word(word(map.address + MAP_VALUES) + 4),
    };
  });
  expect(outcomes[1]).toEqual(outcomes[0]);
  return outcomes[0] as (typeof outcomes)[0];
}

test.each([
  ['taken twice', `${value}\n${LOCK}\n${LOCK}`],
  ['never taken', `${value}\n${UNLOCK}`],
  ['on the stack', 'stw [%r10-4], 0\nmov %r7, %r10\nadd %r7, -4\nmov %r1, %r7\ncall spin_lock'],
  ['at no multiple of 4', `${value}\nadd %r7, 1\n${LOCK}`],
  ['null', 'mov %r1, 0\ncall spin_lock'],
  ['given back as null', 'mov %r1, 0\ncall spin_unlock'],
  ['behind the values', `${value}\nadd %r7, 44\n${LOCK}`],
  ['another one is given back', `${value}\n${LOCK}\nadd %r7, 24\n${UNLOCK}`],
])('a checked program whose lock is %s is ended, and holds none', (_, text) => {
  const { r0, fault, held, word } = runChecked(text);
  expect([r0, fault, held, word]).toEqual([0n, FAULT_LOCK, 0, 0]);
});

test('a program that ends with a lock, or is ended with one, keeps nobody waiting', () => {
  expect(runChecked(`${value}\n${LOCK}`)).toMatchObject({ r0: 2n, fault: 0, held: 0, word: 0 });
  const wild = runChecked(`${value}\n${LOCK}\nmov %r3, 64\nldxdw %r3, [%r3]`);
  expect([wild.r0, wild.held, wild.word]).toEqual([0n, 0, 0]);
  expect(wild.fault).not.toBe(0);
  const inFunction = runChecked(`${value}\n${LOCK}\ncall local sub\nja out\nsub: mov %r3, 64\nldxdw %r0, [%r3]\nexit`);
  expect([inFunction.r0, inFunction.held, inFunction.word]).toEqual([0n, 0, 0]);
});

test('threads that count under a lock lose nothing', async () => {
  const THREADS = 2;
  const PACKETS = 40_000;
  const arena = testArena(16 << 20);
  let last = 0;
  const loaded = new LoadedObject(arena, object, {
    prefix: 'o',
    cpus: THREADS,
    seed: 1,
    trusted: false,
    nextNumber: () => ++last,
  });
  const { wire } = loaded.program();
  const data = Array.from({ length: THREADS }, (_, role) => ({
    handle: arena.handle,
    context: arena.allocate(`context ${role}`, CTX_BYTES),
    clock: arena.allocate(`clock ${role}`, 8),
    wire,
    role,
    packets: PACKETS,
  }));
  expect(await runWorkers('lock-stress.mjs', data)).toEqual(new Array(THREADS).fill('done'));
  expect(loaded.maps.get('totals')?.get(0)).toMatchObject({ packets: BigInt(THREADS * PACKETS), lock: { val: 0 } });
});
