import { type BtfKind, type BtfType, type BtfTypeOf, KINDS } from './btf-types.ts';
import { badObject, hex, Reader } from './reader.ts';

export type { BtfKind, BtfMember, BtfType, BtfTypeOf, BtfVariable } from './btf-types.ts';

const MAGIC = 0xeb9f;
const HEADER_BYTES = 24;
const TYPE_BYTES = 12;
/** Longest chain of typedefs, const, arrays … that is followed: Linux MAX_RESOLVE_DEPTH. */
const DEPTH_MAX = 32;
/** Sizes are 32 bits in the file, and so must be those of arrays. */
const BYTES_MAX = 2 ** 32 - 1;
/** Compilers before clang 16 do not say that an enum is signed: what looks like -1 to -65536 is taken for that. */
const SMALL_NEGATIVE = 0xffff0000;
/** Bytes behind the common 12 of a type, by kind: fixed, and for each of its `vlen` entries. */
const EXTRA: Partial<Record<BtfKind, readonly [number, number]>> = {
  int: [4, 0],
  array: [12, 0],
  struct: [0, 12],
  union: [0, 12],
  enum: [0, 8],
  func_proto: [0, 8],
  var: [4, 0],
  datasec: [0, 12],
  decl_tag: [4, 0],
  enum64: [0, 12],
};

/** What a linker knows of the variables of a file. */
export interface VariablePlaces {
  /** Bytes of a section. */
  bytesOf(section: string): number | undefined;
  /** Offset of a global variable in it. */
  offsetOf(section: string, variable: string): number | undefined;
}

/** True for what only qualifies or names another type. */
function isModifier(type: BtfType): type is BtfTypeOf<'typedef' | 'volatile' | 'const' | 'restrict' | 'type_tag'> {
  const { kind } = type;
  return kind === 'typedef' || kind === 'volatile' || kind === 'const' || kind === 'restrict' || kind === 'type_tag';
}

/**
 * The types of an object file (section .BTF). Types are numbered from 1; 0 is void. A type is decoded when it is asked
 * for, so one that is wrong matters only to whoever uses it.
 */
export class Btf {
  readonly file: string;
  /** Types, void included: ids are below it. */
  readonly count: number;
  readonly #places: VariablePlaces | undefined;
  readonly #types: Reader;
  readonly #strings: Reader;
  /** Where in `#types` each is. */
  readonly #offsets: number[] = [0];
  readonly #decoded: (BtfType | undefined)[] = [{ id: 0, name: '', kind: 'void' }];
  #names: Map<string, number[]> | undefined;

  /**
   * `bytes` of the section; `places` of the file that it is in, when the file has not been linked. Errors: BAD_OBJECT.
   */
  constructor(bytes: Uint8Array, file = 'BTF', places?: VariablePlaces) {
    this.file = file;
    this.#places = places;
    const reader = new Reader(bytes);
    if (bytes.length < HEADER_BYTES || reader.u16(0) !== MAGIC || reader.u8(2) !== 1) {
      const rule = `It must begin with ${hex(MAGIC)}, version 1, and have ${HEADER_BYTES} bytes or more.`;
      throw badObject(file, `section .BTF (${bytes.length} bytes) has no header of BTF. ${rule}`);
    }
    const header = reader.u32(4);
    const [types, typeBytes, strings, stringBytes] = [8, 12, 16, 20].map((at) => reader.u32(at)) as [
      number,
      number,
      number,
      number,
    ];
    if (header + types + typeBytes > bytes.length || header + strings + stringBytes > bytes.length) {
      throw badObject(
        file,
        `section .BTF has ${typeBytes} bytes of types at ${types} and ${stringBytes} of strings at ${strings}, behind a ` +
          `header of ${header}. They must end within its ${bytes.length} bytes.`,
      );
    }
    this.#types = new Reader(bytes.subarray(header + types, header + types + typeBytes));
    this.#strings = new Reader(bytes.subarray(header + strings, header + strings + stringBytes));
    this.count = this.#findTypes();
  }

  #fail(problem: string): Error {
    return badObject(this.file, `section .BTF: ${problem}`);
  }

  #findTypes(): number {
    const { length } = this.#types.bytes;
    for (let at = 0; at < length; ) {
      const info = at + TYPE_BYTES <= length ? this.#types.u32(at + 4) : 0;
      const kind = KINDS[(info >>> 24) & 31];
      if (kind === undefined || kind === 'void') {
        throw this.#fail(
          `type ${this.#offsets.length} at ${hex(at)} has kind ${(info >>> 24) & 31}. Kinds are 1 to ${KINDS.length - 1}.`,
        );
      }
      const [fixed, each] = EXTRA[kind] ?? [0, 0];
      const next = at + TYPE_BYTES + fixed + each * (info & 0xffff);
      if (next > length) {
        throw this.#fail(`type ${this.#offsets.length} ends at ${hex(next)}. The types have ${hex(length)} bytes.`);
      }
      this.#offsets.push(at);
      at = next;
    }
    return this.#offsets.length;
  }

  /** A line of source at `offset`: at most its first 1023 bytes; empty when there is none. */
  excerpt(offset: number): string {
    return this.#strings.text(offset) ?? this.#strings.start(offset);
  }

  /** The name at `offset`. Errors: BAD_OBJECT when it does not end within 1023 bytes. */
  text(offset: number): string {
    if (offset === 0) return '';
    const text = this.#strings.text(offset);
    if (text === undefined) {
      const { length } = this.#strings.bytes;
      throw this.#fail(`there is no string at ${hex(offset)}. Strings end with a 0 within ${hex(length)} bytes.`);
    }
    return text;
  }

  /** Type `id`. Errors: BAD_OBJECT. */
  type(id: number): BtfType {
    const known = this.#decoded[id];
    if (known !== undefined) return known;
    const at = this.#offsets[id];
    if (at === undefined) throw this.#fail(`type ${id} is asked for. There are types 0 to ${this.count - 1}.`);
    const type = this.#decode(id, at);
    this.#decoded[id] = type;
    return type;
  }

  #decode(id: number, at: number): BtfType {
    const reader = this.#types;
    const [info, word] = [reader.u32(at + 4), reader.u32(at + 8)];
    const kind = this.#kindAt(at) as BtfKind;
    const [flag, count] = [info >>> 31 !== 0, info & 0xffff];
    const name = this.text(reader.u32(at));
    const more = at + TYPE_BYTES;
    const entries = <T>(bytes: number, read: (entry: number) => T): T[] => {
      const found: T[] = [];
      for (let index = 0; index < count; index++) found.push(read(more + index * bytes));
      return found;
    };
    switch (kind) {
      case 'int': {
        const encoding = reader.u32(more);
        const [signed, bool] = [(encoding & 0x1000000) !== 0, (encoding & 0x4000000) !== 0];
        return { id, name, kind, bytes: word, bits: encoding & 0xff, signed, bool };
      }
      case 'float':
        return { id, name, kind, bytes: word };
      case 'array':
        return { id, name, kind, type: reader.u32(more), index: reader.u32(more + 4), count: reader.u32(more + 8) };
      case 'struct':
      case 'union': {
        const members = entries(12, (entry) => {
          const offset = reader.u32(entry + 8);
          return {
            name: this.text(reader.u32(entry)),
            type: reader.u32(entry + 4),
            bitOffset: flag ? offset & 0xffffff : offset,
            bits: flag ? offset >>> 24 : 0,
          };
        });
        return { id, name, kind, bytes: word, members };
      }
      case 'enum': {
        const raw = entries(8, (entry) => ({ name: this.text(reader.u32(entry)), value: reader.u32(entry + 4) }));
        const signed = flag || raw.some((each) => each.value >= SMALL_NEGATIVE);
        const values = raw.map((each) => ({ name: each.name, value: BigInt(signed ? each.value | 0 : each.value) }));
        return { id, name, kind, bytes: word, signed, values };
      }
      case 'enum64': {
        const values = entries(12, (entry) => {
          const value = (BigInt(reader.u32(entry + 8)) << 32n) | BigInt(reader.u32(entry + 4));
          return { name: this.text(reader.u32(entry)), value: flag ? BigInt.asIntN(64, value) : value };
        });
        return { id, name, kind, bytes: word, signed: flag, values };
      }
      case 'fwd':
        return { id, name, kind, union: flag };
      case 'func':
        return { id, name, kind, type: word, linkage: count };
      case 'var':
        return { id, name, kind, type: word, linkage: reader.u32(more) };
      case 'func_proto': {
        const parameters = entries(8, (entry) => ({
          name: this.text(reader.u32(entry)),
          type: reader.u32(entry + 4),
        }));
        return { id, name, kind, type: word, parameters };
      }
      case 'datasec': {
        const variables = entries(12, (entry) => {
          const type = reader.u32(entry);
          const offset = this.#placeOf(name, type) ?? reader.u32(entry + 4);
          return { type, offset, bytes: reader.u32(entry + 8) };
        });
        return { id, name, kind, bytes: word || (this.#places?.bytesOf(name) ?? 0), variables };
      }
      case 'void':
        return { id, name, kind };
      default:
        return { id, name, kind, type: word };
    }
  }

  /** Offset of variable `id` when it is not yet in BTF: static ones have it there. */
  #placeOf(section: string, id: number): number | undefined {
    const at = this.#offsets[id];
    // A section among the variables of a section could have that one among its own.
    if (this.#places === undefined || at === undefined || this.#kindAt(at) !== 'var') return undefined;
    const type = this.type(id);
    const isStatic = type.kind !== 'var' || type.linkage === 0;
    return isStatic ? undefined : this.#places.offsetOf(section, type.name);
  }

  #kindAt(at: number): BtfKind | undefined {
    return KINDS[(this.#types.u32(at + 4) >>> 24) & 31];
  }

  /** Type `id` without typedefs, const, volatile, restrict and tags around it. Errors: BAD_OBJECT. */
  resolve(id: number): BtfType {
    let type = this.type(id);
    for (let depth = 0; isModifier(type); depth++) {
      if (depth === DEPTH_MAX) throw this.#fail(`type ${id} is named and qualified more than ${DEPTH_MAX} times over.`);
      type = this.type(type.type);
    }
    return type;
  }

  /** Bytes of a value of type `id`. Errors: BAD_OBJECT, also for what has no size (functions, `struct x;`, void). */
  size(id: number): number {
    let count = 1;
    let type = this.resolve(id);
    for (let depth = 0; type.kind === 'array'; depth++) {
      if (depth === DEPTH_MAX) throw this.#fail(`type ${id} is an array of more than ${DEPTH_MAX} dimensions.`);
      count *= type.count;
      type = this.resolve(type.type);
    }
    const bytes = type.kind === 'ptr' ? 8 : 'bytes' in type ? type.bytes : undefined;
    if (bytes === undefined) throw this.#fail(`type ${id} (${this.describe(id)}) has no size.`);
    const size = count * bytes;
    if (size > BYTES_MAX) throw this.#fail(`type ${id} has ${size} bytes. Types have ${BYTES_MAX} or fewer.`);
    return size;
  }

  /** The types with this name, by id; of one kind when it is given. Errors: BAD_OBJECT. */
  find<Kind extends BtfKind = BtfKind>(name: string, kind?: Kind): BtfTypeOf<Kind> | undefined {
    this.#names ??= this.#indexNames();
    for (const id of this.#names.get(name) ?? []) {
      const type = this.type(id);
      if (kind === undefined || type.kind === kind) return type as BtfTypeOf<Kind>;
    }
    return undefined;
  }

  #indexNames(): Map<string, number[]> {
    const names = new Map<string, number[]>();
    for (let id = 1; id < this.count; id++) {
      const name = this.text(this.#types.u32(this.#offsets[id] as number));
      if (name === '') continue;
      const ids = names.get(name);
      if (ids === undefined) names.set(name, [id]);
      else ids.push(id);
    }
    return names;
  }

  /** `struct xdp_md`, `unsigned int`, `struct key *`: type `id` in messages. Errors: BAD_OBJECT. */
  describe(id: number, depth = 0): string {
    if (depth > DEPTH_MAX) return '…';
    const type = this.type(id);
    if (type.kind === 'ptr') return `${this.describe(type.type, depth + 1)} *`;
    if (type.kind === 'array') return `${this.describe(type.type, depth + 1)}[${type.count}]`;
    if (type.kind === 'const' || type.kind === 'volatile') {
      return `${type.kind} ${this.describe(type.type, depth + 1)}`;
    }
    if (type.kind === 'restrict' || type.kind === 'type_tag') return this.describe(type.type, depth + 1);
    const word = type.kind === 'fwd' ? (type.union ? 'union' : 'struct') : type.kind;
    const isTagged = word === 'struct' || word === 'union' || word === 'enum';
    return `${isTagged ? `${word} ` : ''}${type.name === '' ? `(anonymous ${word})` : type.name}`;
  }
}
