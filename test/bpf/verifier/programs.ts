import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { programOf } from '#build/bpf/assemble.js';
import { readConformance } from '#build/bpf/conformance.js';
import type { ConformanceTest } from '#build/bpf/conformance-file.js';
import { type Instruction, LDDW, OP_LDDW } from '#build/bpf/instruction.js';
import { KIND_ARRAY } from '#build/bpf/layout.js';
import { linkProgram, loadObject } from '#build/bpf/object/load.js';
import type { Program } from '#build/bpf/program.js';

const root = resolve(fileURLToPath(import.meta.url), '../../../..');
/** The suite is kept beside the repository. */
const conformance = join(root, '../shared/conformance/bpf');
/** Where Debian's xdp-tools keeps its programs. */
const debian = ['x86_64', 'aarch64'].map((arch) => `/usr/lib/${arch}-linux-gnu/bpf`).find(existsSync);

/** The programs of the objects in a folder, by file and name; none when there is no such folder. */
function programsIn(folder: string | undefined): [string, Program][] {
  if (folder === undefined || !existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => name.endsWith('.o'));
  return files.sort().flatMap((file) => {
    const object = loadObject(readFileSync(join(folder, file)), { file });
    const programs = object.programs.filter(({ type }) => type !== undefined);
    return programs.map(({ name }): [string, Program] => [`${file} ${name}`, linkProgram(object, name)]);
  });
}

export const EXAMPLES = programsIn(join(root, 'examples/xdp'));
export const DEBIAN = programsIn(debian);

const instruction = (opcode: number, dst: number, src: number, imm: number): Instruction => ({
  opcode,
  dst,
  src,
  offset: 0,
  imm,
});

/** A test's program over the value of a map, which is its memory: r1 is its address, r2 how much there is. */
function overMap({ name, code, memory }: ConformanceTest): Program {
  const prologue =
    memory.length === 0
      ? [instruction(0xb7, 1, 0, 0)]
      : [instruction(OP_LDDW, 1, LDDW.MAP_INDEX_VALUE, 0), instruction(0, 0, 0, 0)];
  const definition = {
    name: 'memory',
    kind: KIND_ARRAY,
    keyBytes: 4,
    valueBytes: Math.max(1, memory.length),
    maxEntries: 1,
    flags: 0,
    pinned: false,
  };
  return programOf([...prologue, instruction(0xb7, 2, 0, memory.length), ...code], name.slice(0, 15), [definition]);
}

/** The conformance programs that have a result, by name. */
export const CONFORMANCE: [string, Program][] = existsSync(conformance)
  ? readConformance(conformance)
      .filter(({ result }) => result !== undefined)
      .map((test): [string, Program] => [test.name, overMap(test)])
  : [];
