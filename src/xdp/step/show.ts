import { instructionText } from '../../bpf/disassemble.ts';
import { CTX_DATA, CTX_DATA_END, CTX_DATA_META, CTX_MD_BYTES, CTX_STACK, FRAME_BYTES } from '../../bpf/layout.ts';
import { functionOf } from '../../bpf/program.ts';
import { describe } from '../../packet/describe.ts';
import type { XdpProgram } from '../run.ts';
import { filledEntries } from '../text.ts';
import { sourceLines, sourcePath } from '../trace/source.ts';
import type { Moment } from './recording.ts';

/** Lines of the source around the one that runs. */
const CONTEXT_LINES = 5;
const ROW_BYTES = 16;
/** Bytes of a packet, and entries of a map, that are shown. */
const PACKET_SHOWN = 512;
const ENTRIES_SHOWN = 32;

const hexBytes = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');

/** Reads the memory of a program as a debugger shows it. */
export class MemoryView {
  readonly #program: XdpProgram;
  readonly #object: string;

  /** @param object path of the object file, beside which sources are looked for too. */
  constructor(program: XdpProgram, object: string) {
    this.#program = program;
    this.#object = object;
  }

  #word(offset: number): number {
    const { memory, context } = this.#program;
    return new DataView(memory.buffer, memory.byteOffset).getUint32(context + offset, true);
  }

  /** `examples/xdp/vlan.c:38 in xdp_vlan_pop`. */
  place({ program, pc, line }: Moment): string {
    const name = functionOf(program, pc)?.name ?? program.name;
    return line === undefined ? `in ${name}` : `${sourcePath(line.file, this.#object)}:${line.line} in ${name}`;
  }

  /** The line that runs and its instruction. */
  here({ program, pc, line }: Moment): string[] {
    const instruction = `        ${pc}: ${instructionText(program, pc)}`;
    return line === undefined ? [instruction] : [`${String(line.line).padStart(5)}  ${line.text}`, instruction];
  }

  /** The source around a moment, the line that runs marked; the instructions where there is none. */
  list({ program, pc, line }: Moment): string[] {
    const source = line === undefined ? undefined : sourceLines(sourcePath(line.file, this.#object));
    if (line === undefined || source === undefined) {
      const first = Math.max(0, pc - CONTEXT_LINES);
      const numbers = Array.from(
        { length: Math.min(program.code.length - first, 2 * CONTEXT_LINES + 1) },
        (_, n) => first + n,
      );
      return numbers.map((at) => `${at === pc ? '>' : ' '}${String(at).padStart(5)}: ${instructionText(program, at)}`);
    }
    const first = Math.max(1, line.line - CONTEXT_LINES);
    return source
      .slice(first - 1, line.line + CONTEXT_LINES)
      .map((text, index) => `${first + index === line.line ? '>' : ' '}${String(first + index).padStart(5)}  ${text}`);
  }

  /** What an address points to; empty when it is none that a program has. */
  #target(value: bigint, depth: number): string {
    const { context, maps } = this.#program;
    const within = (from: number, bytes: number): boolean => value >= BigInt(from) && value < BigInt(from + bytes);
    const distance = (from: number): string => {
      const offset = Number(value) - from;
      return offset === 0 ? '' : ` ${offset < 0 ? '-' : '+'} ${Math.abs(offset)}`;
    };
    const [meta, data, end] = [CTX_DATA_META, CTX_DATA, CTX_DATA_END].map((offset) => this.#word(offset)) as [
      number,
      number,
      number,
    ];
    if (value === BigInt(end)) return 'data_end';
    if (within(meta, end - meta)) return `packet${distance(data)}`;
    if (within(context, CTX_MD_BYTES)) return `context${distance(context)}`;
    const top = context + CTX_STACK + (depth + 1) * FRAME_BYTES;
    if (within(top - FRAME_BYTES, FRAME_BYTES + 1)) return `stack${distance(top)}`;
    if (within(context + CTX_STACK, top - context - CTX_STACK)) return `stack of a caller${distance(top)}`;
    for (const [name, map] of Object.entries(maps)) {
      if (value === BigInt(map.address)) return `map ${name}`;
      for (const { address, bytes } of map.ranges())
        if (within(address, bytes)) return `value of ${name}${distance(address)}`;
    }
    return '';
  }

  /** r0 to r10, and what they point to. */
  registers(registers: BigUint64Array, { depth }: Moment): string[] {
    return Array.from(registers, (value, number) => {
      const target = this.#target(value, depth);
      const text = `r${number}`.padEnd(4) + `0x${value.toString(16)}`.padEnd(20) + BigInt.asIntN(64, value);
      return target === '' ? text : `${text}  ${target}`;
    });
  }

  /** The words of a function's stack that are not 0, by their distance from r10. */
  stack({ depth }: Moment): string[] {
    const { memory, context } = this.#program;
    const top = context + CTX_STACK + (depth + 1) * FRAME_BYTES;
    const rows: string[] = [];
    for (let offset = -8; offset >= -FRAME_BYTES; offset -= 8) {
      const bytes = memory.slice(top + offset, top + offset + 8);
      if (bytes.some((byte) => byte !== 0)) rows.push(`r10${String(offset).padStart(5)}  ${hexBytes(bytes)}`);
    }
    return rows.length === 0 ? ['all 0'] : rows;
  }

  packet(): string[] {
    const { memory } = this.#program;
    const [meta, data, end] = [this.#word(CTX_DATA_META), this.#word(CTX_DATA), this.#word(CTX_DATA_END)];
    const frame = memory.slice(data, end);
    const rows = [`${frame.length} bytes: ${describe(frame)}`];
    if (meta < data) rows.push(`meta  ${hexBytes(memory.slice(meta, data))}`);
    for (let at = 0; at < Math.min(frame.length, PACKET_SHOWN); at += ROW_BYTES) {
      rows.push(`${at.toString(16).padStart(4, '0')}  ${hexBytes(frame.subarray(at, at + ROW_BYTES))}`);
    }
    if (frame.length > PACKET_SHOWN) rows.push(`and ${frame.length - PACKET_SHOWN} more bytes`);
    return rows;
  }

  /** The entries of a map, zeroes of arrays left out. */
  map(name: string): string[] {
    const map = this.#program.maps[name];
    const entries = map === undefined ? [] : filledEntries(map);
    const rows = entries
      .slice(0, ENTRIES_SHOWN)
      .map(({ key, value }) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`);
    const more = entries.length > ENTRIES_SHOWN ? [`  and ${entries.length - ENTRIES_SHOWN} more`] : [];
    return [`map ${name}${entries.length === 0 ? ': no entries' : ''}`, ...rows, ...more];
  }
}
