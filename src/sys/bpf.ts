import { RingwayError } from '../util/errors.ts';
import { type Koffi, type Libc, loadLibc } from './libc.ts';

/** Number of bpf(2), by `process.arch` (Linux arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h). */
const SYSCALL: Readonly<Record<string, number>> = { x64: 321, arm64: 280, riscv64: 280, loong64: 280 };

/** BPF_… commands (Linux include/uapi/linux/bpf.h, as all numbers and offsets below). */
const MAP_CREATE = 0;
const MAP_LOOKUP = 1;
const MAP_UPDATE = 2;
const MAP_DELETE = 3;
const MAP_NEXT_KEY = 4;
const PROG_LOAD = 5;
const PROG_TEST_RUN = 10;
const BTF_LOAD = 18;
const MAP_FREEZE = 22;
const LINK_CREATE = 28;
const LINK_UPDATE = 29;

const PROG_TYPE_XDP = 6;
/** BPF_XDP, of enum bpf_attach_type. */
const ATTACH_XDP = 37;
/** How a program is attached to an interface: XDP_FLAGS_… of include/uapi/linux/if_link.h. */
export const XDP_FLAGS_SKB_MODE = 1 << 1;
export const XDP_FLAGS_DRV_MODE = 1 << 2;
/** A program for packets of several buffers. */
export const BPF_F_XDP_HAS_FRAGS = 1 << 5;
const NAME_MAX = 15;
const FUNC_INFO_BYTES = 8;
/** A license's bytes in the scratch, with a zero; the functions' records are behind it. */
const LICENSE_BYTES = 128;
/** Lines of what the verifier says that an error has: the last ones say why. */
const LOG_LINES = 20;

const ATTRIBUTE_BYTES = 160;
const LOG_BYTES = 1 << 20;
const DATA_BYTES = 128 << 10;
const CONTEXT_BYTES = 64;

/** How a program is loaded. */
export interface KernelProgramOptions {
  /** What the kernel is told of its license, which some helpers ask for: GPL by default. */
  readonly license?: string;
  /** BPF_PROG_TYPE_…: XDP by default. */
  readonly type?: number;
  /** Up to 15 letters, digits and `_.` by which bpftool shows it. */
  readonly name?: string;
  /** BPF_F_…. */
  readonly flags?: number;
  /** BPF_…, of enum bpf_attach_type: BPF_XDP by default for such programs. */
  readonly expectedAttachType?: number;
  /** Descriptor of BTF, and a struct bpf_func_info (u32 instruction, u32 type) for each function. */
  readonly btf?: { readonly descriptor: number; readonly functions: Uint8Array };
}

/** What BPF_PROG_TEST_RUN gives to a program. */
export interface TestRunInput {
  /** The packet: 14 bytes or more. */
  readonly dataIn: Uint8Array;
  /** A struct xdp_md of 24 bytes, when the program is to find other things there than the defaults. */
  readonly ctxIn?: Uint8Array;
  /** How often it runs; 1 by default. */
  readonly repeat?: number;
}

/** What came out. */
export interface TestRunOutput {
  readonly retval: number;
  /** The packet as it left. With `ctxIn`, its metadata too. A copy. */
  readonly dataOut: Uint8Array;
  /** struct xdp_md as it left, when one was given. A copy. */
  readonly ctxOut?: Uint8Array;
  /** One run takes so long, on average. */
  readonly durationNs: number;
}

/** How a map is made. */
export interface KernelMapOptions {
  /** BPF_MAP_TYPE_…. */
  readonly kind: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  /** BPF_F_…. */
  readonly flags?: number;
  /** Descriptor of a map such as those that a map of maps holds. */
  readonly inner?: number;
  readonly name?: string;
}

/**
 * bpf(2): programs and maps in the kernel, by descriptors that `close` gives back. Needs root. Each call throws RingwayError
 * `SYSTEM` with the command and the errno's name when the kernel refuses.
 */
export interface KernelBpf {
  /**
   * Loads a program. Returns its descriptor.
   * @param code instructions as bytes, maps by descriptor in LDDW.
   * @throws RingwayError `SYSTEM` with the last lines of what the kernel's verifier said.
   */
  progLoad(code: Uint8Array, options?: KernelProgramOptions): number;
  /** Loads BTF. Returns its descriptor. */
  btfLoad(btf: Uint8Array): number;
  progTestRun(program: number, input: TestRunInput): TestRunOutput;
  /** Makes a map. Returns its descriptor. */
  mapCreate(options: KernelMapOptions): number;
  /** @param flags BPF_ANY (0), BPF_NOEXIST (1) or BPF_EXIST (2). */
  mapUpdate(map: number, key: Uint8Array, value: Uint8Array, flags?: number): void;
  /** The value under `key`, of `valueBytes`, a copy; undefined when there is none. */
  mapLookup(map: number, key: Uint8Array, valueBytes: number): Uint8Array | undefined;
  /** Returns false when there was no such entry. */
  mapDelete(map: number, key: Uint8Array): boolean;
  /** The key behind `key`, or the first one; undefined behind the last. A copy. */
  mapNextKey(map: number, key: Uint8Array | undefined, keyBytes: number): Uint8Array | undefined;
  /** No system call changes the map any more. */
  mapFreeze(map: number): void;
  /**
   * Attaches an XDP program to the interface of index `interface`, until the descriptor that is returned is closed.
   * @param flags XDP_FLAGS_SKB_MODE or XDP_FLAGS_DRV_MODE; 0: the driver's hook where it has one.
   */
  linkXdp(program: number, interface_: number, flags?: number): number;
  /** Has a link run another program, from one packet to the next. */
  linkUpdate(link: number, program: number): void;
  close(descriptor: number): void;
}

/** Memory that the kernel reads and writes: never freed, since an address does not keep its buffer. */
class Scratch {
  readonly bytes = new Uint8Array(ATTRIBUTE_BYTES + LOG_BYTES + 2 * DATA_BYTES + 2 * CONTEXT_BYTES);
  readonly view = new DataView(this.bytes.buffer);
  readonly base: bigint;
  readonly log = ATTRIBUTE_BYTES;
  readonly input = this.log + LOG_BYTES;
  readonly output = this.input + DATA_BYTES;
  readonly contextIn = this.output + DATA_BYTES;
  readonly contextOut = this.contextIn + CONTEXT_BYTES;

  constructor(koffi: Koffi) {
    this.base = BigInt(koffi.address(this.bytes));
  }

  /** Starts an attribute of zeroes. */
  begin(): this {
    this.bytes.fill(0, 0, ATTRIBUTE_BYTES);
    return this;
  }

  u32(offset: number, value: number): this {
    this.view.setUint32(offset, value, true);
    return this;
  }

  u64(offset: number, value: bigint): this {
    this.view.setBigUint64(offset, value, true);
    return this;
  }

  /** A pointer to place `at` of the scratch. */
  pointer(offset: number, at: number): this {
    return this.u64(offset, this.base + BigInt(at));
  }

  /** Puts `data` at place `at`, and a pointer to it in the attribute. */
  data(offset: number, at: number, data: Uint8Array, limit = DATA_BYTES): this {
    if (data.length > limit) {
      throw new RingwayError('BAD_ARGUMENT', `bpf: ${data.length} bytes, at most ${limit} fit a call`);
    }
    this.bytes.set(data, at);
    return this.pointer(offset, at);
  }

  name(offset: number, name: string | undefined): this {
    const text = (name ?? '').replaceAll(/[^\w.]/g, '_').slice(0, NAME_MAX);
    for (let index = 0; index < text.length; index++) this.bytes[offset + index] = text.charCodeAt(index);
    return this;
  }

  /** The last lines of the verifier's log, each on a line of its own. */
  logText(): string {
    const end = this.bytes.indexOf(0, this.log);
    const text = new TextDecoder().decode(this.bytes.subarray(this.log, Math.min(end, this.log + LOG_BYTES))).trim();
    if (text === '') return '';
    const lines = text.split('\n');
    const left = lines.length - LOG_LINES;
    return `\n${left > 0 ? `(${left} lines before these)\n` : ''}${lines.slice(-LOG_LINES).join('\n')}`;
  }
}

function bind({ koffi, call, errorName }: Libc, number: number): KernelBpf {
  const syscall = call('int64_t syscall(int64_t number, int command, uintptr_t attribute, unsigned int bytes)');
  const closeFd = call('int close(int fd)');
  const scratch = new Scratch(koffi);

  /** Calls bpf(2) with the scratch's attribute. Returns the result, or the errno's name. */
  const attempt = (command: number): number | string => {
    const result = Number(syscall(number, command, Number(scratch.base), ATTRIBUTE_BYTES));
    if (result >= 0) return result;
    return errorName();
  };
  const check = (command: number, what: string, more = ''): number => {
    const result = attempt(command);
    if (typeof result === 'number') return result;
    throw new RingwayError('SYSTEM', `bpf(${what}): ${result}${more}`);
  };

  return {
    btfLoad(btf) {
      scratch
        .begin()
        .data(0, scratch.input, btf)
        .pointer(8, scratch.log)
        .u32(16, btf.length)
        .u32(20, LOG_BYTES)
        .u32(24, 1);
      scratch.bytes[scratch.log] = 0;
      const result = attempt(BTF_LOAD);
      if (typeof result === 'number') return result;
      throw new RingwayError('SYSTEM', `bpf(BTF_LOAD of ${btf.length} bytes): ${result}${scratch.logText()}`);
    },

    progLoad(
      code,
      {
        type = PROG_TYPE_XDP,
        license = 'GPL',
        name,
        flags = 0,
        expectedAttachType = type === PROG_TYPE_XDP ? ATTACH_XDP : 0,
        btf,
      } = {},
    ) {
      const terms = new TextEncoder().encode(`${license.slice(0, LICENSE_BYTES - 1)}\0`);
      const attribute = (): Scratch => {
        scratch
          .begin()
          .u32(0, type)
          .u32(4, code.length / 8)
          .data(8, scratch.input, code)
          .data(16, scratch.output, terms, LICENSE_BYTES)
          .u32(44, flags)
          .name(48, name)
          .u32(68, expectedAttachType);
        if (btf !== undefined) {
          scratch
            .u32(72, btf.descriptor)
            .u32(76, FUNC_INFO_BYTES)
            .data(80, scratch.output + LICENSE_BYTES, btf.functions, DATA_BYTES - LICENSE_BYTES)
            .u32(88, btf.functions.length / FUNC_INFO_BYTES);
        }
        return scratch;
      };
      attribute();
      const result = attempt(PROG_LOAD);
      if (typeof result === 'number') return result;
      // Only then with a log, which takes the kernel longer than the rest.
      scratch.bytes[scratch.log] = 0;
      attribute().u32(24, 1).u32(28, LOG_BYTES).pointer(32, scratch.log);
      const again = attempt(PROG_LOAD);
      if (typeof again === 'number') return again;
      throw new RingwayError(
        'SYSTEM',
        `bpf(PROG_LOAD${name === undefined ? '' : ` ${name}`}): ${result}${scratch.logText()}`,
      );
    },

    progTestRun(program, { dataIn, ctxIn, repeat = 1 }) {
      scratch
        .begin()
        .u32(0, program)
        .u32(8, dataIn.length)
        .u32(12, DATA_BYTES)
        .data(16, scratch.input, dataIn)
        .pointer(24, scratch.output)
        .u32(32, repeat);
      if (ctxIn !== undefined) {
        scratch
          .u32(40, ctxIn.length)
          .u32(44, CONTEXT_BYTES)
          .data(48, scratch.contextIn, ctxIn, CONTEXT_BYTES)
          .pointer(56, scratch.contextOut);
      }
      check(PROG_TEST_RUN, `PROG_TEST_RUN of descriptor ${program} on ${dataIn.length} bytes`);
      const { view, bytes, output, contextOut } = scratch;
      const copy = (from: number, length: number): Uint8Array => bytes.slice(from, from + length);
      return {
        retval: view.getUint32(4, true),
        dataOut: copy(output, view.getUint32(12, true)),
        durationNs: view.getUint32(36, true),
        ...(ctxIn === undefined ? {} : { ctxOut: copy(contextOut, view.getUint32(44, true)) }),
      };
    },

    mapCreate({ kind, keyBytes, valueBytes, maxEntries, flags = 0, inner = 0, name }) {
      scratch
        .begin()
        .u32(0, kind)
        .u32(4, keyBytes)
        .u32(8, valueBytes)
        .u32(12, maxEntries)
        .u32(16, flags)
        .u32(20, inner)
        .name(28, name);
      return check(
        MAP_CREATE,
        `MAP_CREATE${name === undefined ? '' : ` ${name}`} of kind ${kind}, keys ${keyBytes}, values ${valueBytes}, ${maxEntries} entries`,
      );
    },

    mapUpdate(map, key, value, flags = 0) {
      scratch.begin().u32(0, map).data(8, scratch.input, key).data(16, scratch.output, value).u64(24, BigInt(flags));
      check(MAP_UPDATE, `MAP_UPDATE_ELEM of descriptor ${map}`);
    },

    mapLookup(map, key, valueBytes) {
      if (valueBytes > DATA_BYTES)
        throw new RingwayError('BAD_ARGUMENT', `bpf: a value of ${valueBytes} bytes, at most ${DATA_BYTES}`);
      scratch.begin().u32(0, map).data(8, scratch.input, key).pointer(16, scratch.output);
      const result = attempt(MAP_LOOKUP);
      if (result === 'ENOENT') return undefined;
      if (typeof result === 'string')
        throw new RingwayError('SYSTEM', `bpf(MAP_LOOKUP_ELEM of descriptor ${map}): ${result}`);
      return scratch.bytes.slice(scratch.output, scratch.output + valueBytes);
    },

    mapDelete(map, key) {
      scratch.begin().u32(0, map).data(8, scratch.input, key);
      const result = attempt(MAP_DELETE);
      if (typeof result === 'number') return true;
      if (result === 'ENOENT') return false;
      throw new RingwayError('SYSTEM', `bpf(MAP_DELETE_ELEM of descriptor ${map}): ${result}`);
    },

    mapNextKey(map, key, keyBytes) {
      scratch.begin().u32(0, map).pointer(16, scratch.output);
      if (key !== undefined) scratch.data(8, scratch.input, key);
      const result = attempt(MAP_NEXT_KEY);
      if (result === 'ENOENT') return undefined;
      if (typeof result === 'string')
        throw new RingwayError('SYSTEM', `bpf(MAP_GET_NEXT_KEY of descriptor ${map}): ${result}`);
      return scratch.bytes.slice(scratch.output, scratch.output + keyBytes);
    },

    mapFreeze(map) {
      scratch.begin().u32(0, map);
      check(MAP_FREEZE, `MAP_FREEZE of descriptor ${map}`);
    },

    linkXdp(program, interface_, flags = 0) {
      scratch.begin().u32(0, program).u32(4, interface_).u32(8, ATTACH_XDP).u32(12, flags);
      return check(LINK_CREATE, `LINK_CREATE of XDP on interface ${interface_}`);
    },

    linkUpdate(link, program) {
      scratch.begin().u32(0, link).u32(4, program);
      check(LINK_UPDATE, `LINK_UPDATE of descriptor ${link}`);
    },

    close(descriptor) {
      if (Number(closeFd(descriptor)) !== 0) throw new RingwayError('SYSTEM', `close(${descriptor}): it is not open`);
    },
  };
}

let bound: { bpf: KernelBpf } | { reason: string } | undefined;

function load(): { bpf: KernelBpf } | { reason: string } {
  const number = SYSCALL[process.arch];
  if (process.platform !== 'linux' || number === undefined) {
    return {
      reason: `bpf(2) is called on Linux on ${Object.keys(SYSCALL).join(', ')}, and here is ${process.platform} on ${process.arch}`,
    };
  }
  let bpf: KernelBpf;
  try {
    bpf = bind(loadLibc(), number);
  } catch (error) {
    return { reason: `the optional dependency koffi does not load: ${String(error).split('\n', 1)[0]}` };
  }
  try {
    // mov r0, 2; exit: whoever may load that may load all.
    bpf.close(bpf.progLoad(Uint8Array.of(0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0)));
  } catch (error) {
    const why = (error as Error).message.split('\n', 1)[0];
    const advice = 'run as root, or give Node the capabilities CAP_BPF and CAP_NET_ADMIN';
    return { reason: `the kernel takes no program from this user (${why}); ${advice}` };
  }
  return { bpf };
}

/** Why bpf(2) is not to be had here; undefined when it is. The first call tries it. */
export function bpfUnavailable(): string | undefined {
  bound ??= load();
  return 'reason' in bound ? bound.reason : undefined;
}

/**
 * bpf(2).
 * @throws RingwayError `UNSUPPORTED` when it is not to be had here, with the reason.
 */
export function requireBpf(): KernelBpf {
  bound ??= load();
  if ('bpf' in bound) return bound.bpf;
  throw new RingwayError('UNSUPPORTED', `bpf: ${bound.reason}`);
}
