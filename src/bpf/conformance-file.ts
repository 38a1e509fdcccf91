import { RingwayError } from '../util/errors.ts';
import { assemble } from './assemble.ts';
import { decodeInstructions, type Instruction } from './instruction.ts';

/** A test of the suite: a program, the memory that it gets, and what comes out. */
export interface ConformanceTest {
  /** The file's name without `.data`. */
  readonly name: string;
  readonly code: readonly Instruction[];
  readonly memory: Uint8Array;
  /** r0 at the end, u64; undefined when the program must be refused. */
  readonly result?: bigint;
}

/** The sections of a file by name: `-- asm` begins one. */
function sectionsOf(text: string): Map<string, { from: number; lines: string[] }> {
  const sections = new Map<string, { from: number; lines: string[] }>();
  let current: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const title = /^--\s+(.*?)\s*$/.exec(line);
    if (title === null) {
      current.push(line);
      continue;
    }
    current = [];
    sections.set(title[1] as string, { from: index + 1, lines: current });
  }
  return sections;
}

const withoutComments = (lines: readonly string[]): string => lines.map((line) => line.replace(/#.*/, '')).join(' ');

/**
 * A test file of bpf_conformance: sections `-- asm` or `-- raw` (a word of 64 bits an instruction), `-- mem` (bytes in
 * hexadecimal), `-- result` (hexadecimal after 0x, else decimal) or `-- error`; others say nothing to us.
 * @param name for the messages.
 * @throws RingwayError `BAD_PROGRAM` when it has no program or no result.
 */
export function parseConformance(name: string, text: string): ConformanceTest {
  const sections = sectionsOf(text);
  const bad = (why: string): RingwayError => new RingwayError('BAD_PROGRAM', `conformance test ${name}: ${why}`);
  const textOf = (section: string): string => withoutComments(sections.get(section)?.lines ?? []).trim();
  const asm = sections.get('asm');
  let code: Instruction[];
  // Empty lines in front, so that the assembler counts lines as the file does.
  if (asm !== undefined) code = assemble('\n'.repeat(asm.from) + asm.lines.join('\n'));
  else if (sections.has('raw')) code = decodeRaw(textOf('raw'));
  else throw bad('it has neither a section "-- asm" nor "-- raw"');
  const memory = Uint8Array.from(textOf('mem').split(/\s+/).filter(Boolean), (byte) => Number.parseInt(byte, 16));
  if (sections.has('error')) return { name, code, memory };
  const result = textOf('result');
  if (!/^-?(0x[0-9a-f]+|\d+)$/i.test(result)) throw bad(`its result is "${result}", no number`);
  const value = result.startsWith('-') ? -BigInt(result.slice(1)) : BigInt(result);
  return { name, code, memory, result: BigInt.asUintN(64, value) };
}

/** Instructions from words of 64 bits: the lowest byte is the opcode. */
export function decodeRaw(text: string): Instruction[] {
  const words = text.split(/\s+/).filter(Boolean);
  return decodeInstructions(new Uint8Array(BigUint64Array.from(words, (word) => BigInt(word)).buffer));
}
