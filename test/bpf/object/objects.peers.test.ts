import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { programOf } from '#build/bpf/assemble.js';
import { instructionText } from '#build/bpf/disassemble.js';
import {
  decodeInstructions,
  INSTRUCTION_BYTES,
  type Instruction,
  isConditional,
  OP_CALL,
  OP_CALLX,
  OP_EXIT,
  OP_JA,
  OP_LDDW,
} from '#build/bpf/instruction.js';
import { withVariables } from '#build/bpf/object/data.js';
import { SHF_EXECINSTR } from '#build/bpf/object/elf.js';
import { linkProgram, loadObject } from '#build/bpf/object/load.js';
import type { BpfObject } from '#build/bpf/object/object.js';
import type { Program } from '#build/bpf/program.js';
import { verifyStructure } from '#build/bpf/verify.js';
import { bpfUnavailable } from '#build/sys/index.js';
import { Random } from '#build/util/random.js';
import { tryLoad } from '../support/kernel.ts';
import { compile, FIXTURES } from './fixtures/build.mjs';
import { fixture, fixtureBytes } from './objects.ts';

const SEED = 5;
/** Where Debian's xdp-tools keeps its programs. */
const folder = ['x86_64', 'aarch64'].map((arch) => `/usr/lib/${arch}-linux-gnu/bpf`).find(existsSync);
const debian = folder === undefined ? [] : readdirSync(folder).filter((name) => name.endsWith('.o'));
if (debian.length === 0) console.warn('objects.peers.test.ts runs in part: xdp-tools is not installed');
const hasTool = (tool: string): boolean => spawnSync(tool, ['--version']).error === undefined;
const canDump = hasTool('llvm-objdump');
const canCompile = hasTool('clang') && hasTool('llvm-strip') && existsSync('/usr/include/bpf/bpf_helpers.h');
if (!canDump || !canCompile) console.warn('objects.peers.test.ts runs in part: clang and its tools are not installed');
const hasKernel = bpfUnavailable() === undefined;
if (!hasKernel) console.warn('objects.peers.test.ts runs in part: this process may not use bpf(2)');

const temporary = mkdtempSync(join(tmpdir(), 'ringway-objects-'));
afterAll(() => rmSync(temporary, { recursive: true }));

const fixturePath = (name: string): string => fileURLToPath(new URL(`fixtures/${name}.o`, import.meta.url));
const objects: [string, string][] = [
  ...debian.map((name): [string, string] => [name, join(folder as string, name)]),
  ...FIXTURES.map((name: string): [string, string] => [`fixture ${name}`, fixturePath(name)]),
];
const load = (path: string): BpfObject => loadObject(readFileSync(path), { file: path });
const linkAll = (object: BpfObject): Program[] =>
  object.programs.filter(({ type }) => type !== undefined).map(({ name }) => linkProgram(object, name));

test.skipIf(debian.length === 0).each(debian)('%s: every XDP program is linked and right', (name) => {
  const object = load(join(folder as string, name));
  for (const program of linkAll(object)) {
    verifyStructure(program);
    expect(program.lines.length).toBeGreaterThan(0);
  }
  for (const { name: other } of object.programs.filter(({ type }) => type === undefined)) {
    expect(() => linkProgram(object, other)).toThrow(/Programs that can be run are/);
  }
});

/** Instructions of llvm-objdump's listing, by section and number. */
function dump(path: string): Map<string, Map<number, string>> {
  const listing = execFileSync('llvm-objdump', ['-d', '--no-show-raw-insn', path], { encoding: 'utf8' });
  const sections = new Map<string, Map<number, string>>();
  let section = new Map<number, string>();
  for (const line of listing.split('\n')) {
    const title = /^Disassembly of section (.*):$/.exec(line);
    const instruction = /^\s*(\d+):\t(.*?)(?: <[\w.$+-]+>)?$/.exec(line);
    if (title !== null) {
      section = new Map();
      sections.set(title[1] as string, section);
    } else if (instruction !== null) section.set(Number(instruction[1]), (instruction[2] as string).trim());
  }
  return sections;
}

/** Our text without what is only in it: names of helpers. */
const plain = (text: string): string => text.replace(/^call (?:\w+#|pc\+?)/, 'call ');

test.skipIf(!canDump).each(objects)('%s: the disassembly is that of llvm-objdump', (_, path) => {
  const expected = dump(path);
  let compared = 0;
  for (const { name, bytes, flags } of load(path).parts.elf.sections) {
    if ((flags & SHF_EXECINSTR) === 0 || bytes.length === 0) continue;
    const code = decodeInstructions(bytes);
    for (let pc = 0; pc < code.length; pc++) {
      expect(`${pc}: ${plain(instructionText({ code }, pc))}`).toBe(`${pc}: ${expected.get(name)?.get(pc)}`);
      compared++;
      if (code[pc]?.opcode === OP_LDDW) pc++;
    }
  }
  expect(compared).toBeGreaterThan(1);
});

test.skipIf(!canDump)('instructions at random have the text that llvm-objdump gives them', () => {
  const COUNT = 20_000;
  const random = new Random(SEED);
  const base = fixtureBytes('calls');
  const bytes = new Uint8Array(base.length + COUNT * INSTRUCTION_BYTES);
  bytes.set(base);
  const view = new DataView(bytes.buffer);
  const imms = [16, 32, 64, 0, 1, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1, -5];
  for (let at = base.length; at < bytes.length; at += INSTRUCTION_BYTES) {
    const opcode = random.below(256);
    bytes[at] = opcode === OP_LDDW ? 0x07 : opcode;
    bytes[at + 1] = random.below(11) | (random.below(11) << 4);
    if (random.below(2) === 0) view.setInt16(at + 2, random.below(2_000) - 1_000, true);
    if (random.below(2) === 0) view.setInt32(at + 4, imms[random.below(imms.length)] ?? random.next() | 0, true);
  }
  // Section .text has them, behind all else.
  const index = loadObject(base).parts.elf.section('.text')?.index ?? 0;
  const header = view.getUint32(40, true) + index * 64;
  view.setUint32(header + 24, base.length, true);
  view.setUint32(header + 32, COUNT * INSTRUCTION_BYTES, true);
  const path = join(temporary, 'random.o');
  writeFileSync(path, bytes);
  const code = decodeInstructions(bytes.subarray(base.length));
  let compared = 0;
  for (const [pc, expected] of dump(path).get('.text') ?? []) {
    if (expected === '<unknown>' || !isRegular(code[pc] as Instruction)) continue;
    expect(`seed ${SEED}, ${pc}: ${plain(instructionText({ code }, pc))}`).toBe(`seed ${SEED}, ${pc}: ${expected}`);
    compared++;
  }
  expect(compared).toBeGreaterThan(1_000);
});

/** True for what programs may have, wherever its jumps lead. Indirect calls were written otherwise by older versions. */
function isRegular(instruction: Instruction): boolean {
  const { opcode, imm } = instruction;
  if (opcode === OP_CALL || opcode === OP_CALLX || opcode === 0x06) return false;
  // Of 32-bit additions, versions differ in the register's name, and old ones in whether they fetch.
  if (opcode === 0xc3 && (imm | 1) === 1) return false;
  try {
    verifyStructure(programOf([{ ...instruction, offset: isJump(opcode) ? 0 : instruction.offset }, EXIT]));
    return true;
  } catch {
    return false;
  }
}

const EXIT: Instruction = { opcode: OP_EXIT, dst: 0, src: 0, offset: 0, imm: 0 };
const isJump = (opcode: number): boolean => opcode === OP_JA || isConditional(opcode);

// A kernel takes a spin lock only in a map that was made with BTF, and these are made without.
const withoutLocks = objects.filter(([, path]) => !path.endsWith('locks.o'));

test.skipIf(!hasKernel).each(withoutLocks)('%s: the kernel takes what is linked', (_, path) => {
  const object = load(path);
  for (const { name } of object.programs.filter(({ type }) => type !== undefined)) {
    let program: Program;
    try {
      program = linkProgram(object, name);
      verifyStructure(program);
    } catch {
      // The fixtures have some that are wrong.
      continue;
    }
    expect(`${name} ${tryLoad(program)}`).toBe(`${name} undefined`);
  }
});

test.skipIf(debian.length === 0)('the dispatcher runs filters in the place of its functions', () => {
  const filters = debian.filter((name) => name.startsWith('xdpfilt')).slice(0, 10);
  const replace = Object.fromEntries(
    filters.map((name, index) => [`prog${index}`, { object: load(join(folder as string, name)) }]),
  );
  const plainObject = load(join(folder as string, 'xdp-dispatcher.o'));
  const object = withVariables(plainObject, {
    conf: {
      magic: 236,
      dispatcher_version: 2,
      num_progs_enabled: filters.length,
      chain_call_actions: filters.map(() => 1 << 2),
    },
  });
  const program = linkProgram(object, 'xdp_dispatcher', { replace });
  verifyStructure(program);
  expect(program.functions.map(({ name }) => name)).toEqual([
    'xdp_dispatcher',
    ...filters.map((name) => name.slice(0, -2)),
    'compat_test',
  ]);
  expect(program.maps.length).toBeGreaterThan(filters.length);
  if (hasKernel) expect(tryLoad(program)).toBeUndefined();
});

test.skipIf(!hasKernel)('a dispatcher with programs of the fixtures is taken by the kernel', () => {
  const object = withVariables(fixture('dispatcher'), { conf: { count: 3, proceed: [4, 4, 4] } });
  const replace = {
    slot0: { object: fixture('maps'), program: 'count' },
    slot1: { object: fixture('calls'), program: 'second' },
    slot2: { object: fixture('data') },
  };
  expect(tryLoad(linkProgram(object, 'dispatch', { replace }))).toBeUndefined();
});

test.skipIf(!canCompile).each(FIXTURES)('fixture %s is what its source compiles to', (name) => {
  const target = join(temporary, `${name}.o`);
  compile(name, target);
  const bytes = readFileSync(target);
  const compiled = loadObject(bytes);
  const version = execFileSync('clang', ['--version'], { encoding: 'utf8' });
  if (/version 14\./.test(version)) expect(Buffer.compare(bytes, fixtureBytes(name))).toBe(0);
  expect(compiled.programs).toEqual(fixture(name).programs);
});
