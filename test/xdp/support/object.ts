import { assemble } from '#build/bpf/assemble.js';
import { encodeInstructions } from '#build/bpf/instruction.js';

interface Part {
  readonly name: string;
  readonly type: number;
  readonly flags?: number;
  readonly bytes: Uint8Array;
  readonly link?: number;
  readonly info?: number;
  readonly entry?: number;
}

const encoder = new TextEncoder();
const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
const SHF_ALLOC_EXECINSTR = 2 | 4;
const EM_BPF = 247;

/** A string table, and where each string is in it. */
function strings(names: readonly string[]): { bytes: Uint8Array; at: number[] } {
  let bytes: number[] = [0];
  const at = names.map((name) => {
    const place = bytes.length;
    bytes = [...bytes, ...encoder.encode(name), 0];
    return place;
  });
  return { bytes: Uint8Array.from(bytes), at };
}

/** An object file with one program without maps, of instructions as text. */
export function writeObject(name: string, source: string, { section = 'xdp' } = {}): Uint8Array {
  const code = encodeInstructions(assemble(source));
  const names = strings([name]);
  const symbols = new Uint8Array(48);
  const symbol = new DataView(symbols.buffer, 24);
  symbol.setUint32(0, names.at[0] ?? 0, true);
  // STB_GLOBAL, STT_FUNC, in section 1.
  symbol.setUint8(4, (1 << 4) | 2);
  symbol.setUint16(6, 1, true);
  symbol.setBigUint64(16, BigInt(code.length), true);
  const parts: Part[] = [
    { name: '', type: 0, bytes: new Uint8Array(0) },
    { name: section, type: SHT_PROGBITS, flags: SHF_ALLOC_EXECINSTR, bytes: code },
    { name: 'license', type: SHT_PROGBITS, flags: 2, bytes: encoder.encode('GPL\0') },
    { name: '.symtab', type: SHT_SYMTAB, bytes: symbols, link: 4, info: 1, entry: 24 },
    { name: '.strtab', type: SHT_STRTAB, bytes: names.bytes },
  ];
  const sectionNames = strings([...parts.map((part) => part.name), '.shstrtab']);
  parts.push({ name: '.shstrtab', type: SHT_STRTAB, bytes: sectionNames.bytes });
  const offsets: number[] = [];
  let end = 64;
  for (const { bytes } of parts) {
    end = (end + 7) & ~7;
    offsets.push(end);
    end += bytes.length;
  }
  const headers = (end + 7) & ~7;
  const file = new Uint8Array(headers + parts.length * 64);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 1, true);
  view.setUint16(18, EM_BPF, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(40, BigInt(headers), true);
  view.setUint16(52, 64, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, parts.length, true);
  view.setUint16(62, parts.length - 1, true);
  for (const [index, { type, flags = 0, bytes, link = 0, info = 0, entry = 0 }] of parts.entries()) {
    file.set(bytes, offsets[index]);
    const at = headers + index * 64;
    view.setUint32(at, sectionNames.at[index] ?? 0, true);
    view.setUint32(at + 4, type, true);
    view.setBigUint64(at + 8, BigInt(flags), true);
    view.setBigUint64(at + 24, BigInt(index === 0 ? 0 : (offsets[index] ?? 0)), true);
    view.setBigUint64(at + 32, BigInt(bytes.length), true);
    view.setUint32(at + 40, link, true);
    view.setUint32(at + 44, info, true);
    view.setBigUint64(at + 48, 8n, true);
    view.setBigUint64(at + 56, BigInt(entry), true);
  }
  return file;
}
