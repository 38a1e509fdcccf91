import { readFileSync } from 'node:fs';
import { interpret, type Step } from '../bpf/interpreter.ts';
import {
  CTX_BYTES,
  CTX_CPU,
  CTX_DATA,
  CTX_DATA_END,
  CTX_DATA_META,
  CTX_FAULT,
  CTX_FAULT_ADDRESS,
  CTX_FAULT_PC,
  CTX_HARD_END,
  CTX_HARD_START,
  CTX_REDIRECT_KEY,
  CTX_REDIRECT_KIND,
  CTX_REDIRECT_MAP,
  CTX_REDIRECT_TARGET,
  CTX_SLOT,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_XSKMAP,
} from '../bpf/layout.ts';
import { createLog, LOG_BYTES } from '../bpf/maps/log.ts';
import { type BpfMap, knownMap } from '../bpf/maps/map.ts';
import { withVariables } from '../bpf/object/data.ts';
import { loadObject } from '../bpf/object/load.ts';
import type { BpfObject } from '../bpf/object/object.ts';
import type { BtfValue } from '../bpf/object/values.ts';
import { type Program, placeOf } from '../bpf/program.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { actionName, faultText, type XdpAction } from './actions.ts';
import { readEvents, readLogs, type XdpEvent } from './events.ts';
import { LoadedObject, type LoadedProgram, objectBytes } from './object.ts';
import { saveMemory } from './save.ts';
import { ProgramThread } from './thread.ts';

/** How an object file is loaded, to run one of its programs alone. */
export interface XdpOptions {
  /** Name of the program; not needed when there is only one. */
  readonly prog?: string;
  /** Run it without checks. It must be a program that the kernel's verifier takes. */
  readonly trusted?: boolean;
  /** What runs it: compiled code, or an interpreter, a hundred times slower, that can be watched step by step. */
  readonly engine?: 'jit' | 'interpreter';
  /** CPUs that maps have values for: 1 to 256. 1 by default. */
  readonly cpus?: number;
  /** The time that programs see, in nanoseconds: it stands still until `setTime`. One second by default. */
  readonly nowNs?: number | bigint;
  /** Of random numbers and hashes: a u32, 1 by default. */
  readonly seed?: number;
  /** Initial values of global variables, by name. */
  readonly variables?: Readonly<Record<string, BtfValue>>;
  /** Programs of other objects (freplace) in the place of functions of this one, by the name of the function. */
  readonly replace?: Readonly<Record<string, XdpReplacement>>;
  /** What a checked run may take: about one for an instruction in a loop. 1,000,000 by default. */
  readonly fuel?: number;
  /** Called before each instruction; of the interpreter only. What it throws ends the run. */
  readonly onStep?: (step: Step) => void;
}

/** A program in the place of a function. */
export interface XdpReplacement {
  /** Path of its object file, or the file. */
  readonly object: string | Uint8Array;
  readonly prog?: string;
  readonly variables?: Readonly<Record<string, BtfValue>>;
}

/** Where a packet comes from. */
export interface RunContext {
  /** Number of the interface it came in by; 1 by default. */
  readonly ifindex?: number;
  readonly rxQueue?: number;
  /** Number of the interface it leaves by, for programs of device maps. */
  readonly egressIfindex?: number;
  /** CPU that it runs on: 0 to `cpus` - 1. */
  readonly cpu?: number;
}

/** Where a program redirected a packet. */
export interface RedirectTarget {
  readonly to: 'interface' | 'cpu' | 'socket';
  /** Interface index, CPU or socket, as the map has it. */
  readonly target: number;
  /** Name of the map that it is from, and its key there. */
  readonly map?: string;
  readonly key?: number;
}

/** Why a checked program was ended. */
export interface XdpFault {
  readonly reason: string;
  /** File, line and instruction. */
  readonly place: string;
  readonly address: bigint;
}

/** What came of one packet. */
export interface RunResult {
  readonly action: XdpAction;
  /** What the program returned: a u32. */
  readonly returned: number;
  /** The packet as it left: a copy. */
  readonly packet: Uint8Array;
  /** Metadata before the packet, from adjust_meta. */
  readonly meta: Uint8Array;
  readonly redirect?: RedirectTarget;
  readonly fault?: XdpFault;
  /** The program's maps by name: what they hold now. */
  readonly maps: Readonly<Record<string, BpfMap>>;
  /** What it wrote to ring buffers and perf event arrays. */
  readonly events: readonly XdpEvent[];
  /** What it said with trace_printk. */
  readonly log: readonly string[];
}

/** As in the kernel's test runs (net/bpf/test_run.c): a page, 256 bytes in front, 320 kept behind. */
const FRAME_BYTES = 4096;
const HEADROOM = 256;
const TAILROOM = 320;
/** Bytes of the headroom that the kernel keeps for itself (struct xdp_frame). */
const FRAME_WORDS = 40;
/** The longest packet: what IP can say, and some. */
export const PACKET_MAX = 65_600;
/** An Ethernet header, as in the kernel. */
export const PACKET_MIN = 14;

const KINDS: Readonly<Record<number, RedirectTarget['to']>> = {
  0: 'interface',
  [KIND_DEVMAP]: 'interface',
  [KIND_DEVMAP_HASH]: 'interface',
  [KIND_CPUMAP]: 'cpu',
  [KIND_XSKMAP]: 'socket',
};

/**
 * Reads an object file.
 * @param source its path, or the file.
 * @throws RingwayError `BAD_OBJECT`; `NOT_FOUND` when it cannot be read.
 */
export function readObject(source: string | Uint8Array): BpfObject {
  if (typeof source !== 'string') return loadObject(source);
  try {
    return loadObject(readFileSync(source), { file: source });
  } catch (error) {
    if (error instanceof RingwayError) throw error;
    throw new RingwayError('NOT_FOUND', `${source}: cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** The object with the initial values of its variables. */
function readWith(source: string | Uint8Array, variables: XdpOptions['variables']): BpfObject {
  const object = readObject(source);
  return variables === undefined ? object : withVariables(object, variables);
}

/** A program that runs on packets one by one, in memory of its own: for tests. `loadXdp` makes one. */
export class XdpProgram {
  readonly name: string;
  /** The object's maps, by name. */
  readonly maps: Readonly<Record<string, BpfMap>>;
  readonly #arena: Arena;
  readonly #object: LoadedObject;
  readonly #loaded: LoadedProgram;
  readonly #thread: ProgramThread;
  /** Address of what the program says with trace_printk. */
  readonly #log: number;
  readonly #engine: 'jit' | 'interpreter';
  readonly #options: XdpOptions;
  /** Addresses of the time, and of the memory that a packet lies in. */
  readonly #clock: number;
  readonly #area: number;

  /** For `loadXdp`. */
  constructor(object: BpfObject, options: XdpOptions) {
    const { prog, trusted = false, engine = 'jit', cpus = 1, nowNs = 1_000_000_000, seed = 1, fuel } = options;
    if (options.onStep !== undefined && engine !== 'interpreter') {
      throw new RingwayError('BAD_ARGUMENT', `engine ${engine} has no steps to call onStep for; use the interpreter`);
    }
    const replace = Object.entries(options.replace ?? {}).map(
      ([name, { object: source, prog: program, variables }]) => {
        const replacement = { object: readWith(source, variables), ...(program === undefined ? {} : { program }) };
        return [name, replacement] as const;
      },
    );
    const others = replace.reduce((sum, [, { object: other }]) => sum + objectBytes(other, cpus), 0);
    const bytes = objectBytes(object, cpus) + others + CTX_BYTES + PACKET_MAX + FRAME_BYTES + LOG_BYTES + 65_536;
    const arena = createArena({ bytes });
    let last = 0;
    this.#arena = arena;
    this.#engine = engine;
    this.#options = options;
    this.#object = new LoadedObject(arena, object, {
      prefix: 'xdp',
      cpus,
      seed,
      trusted,
      nextNumber: () => ++last,
      ...(replace.length === 0 ? {} : { replace: Object.fromEntries(replace) }),
      ...(fuel === undefined ? {} : { fuel }),
    });
    this.#loaded = this.#object.program(prog);
    this.name = this.#loaded.program.name;
    this.maps = Object.fromEntries(this.#object.maps);
    this.#clock = arena.allocate('clock', 8);
    this.#area = arena.allocate('packet', HEADROOM + PACKET_MAX + FRAME_BYTES);
    this.#log = createLog(arena, 'log');
    this.#thread = new ProgramThread(arena, arena.allocate('context', CTX_BYTES), {
      cpu: 0,
      clock: this.#clock,
      seed,
      log: this.#log,
    });
    for (const { wire } of this.#object.programs.values()) this.#thread.add(wire);
    this.setTime(nowNs);
  }

  /** The program, and all others of the object that can run: those it may go on in. */
  get programs(): readonly Program[] {
    return [...this.#object.programs.values()].map(({ program }) => program);
  }

  /** The memory of packet, stack and maps: what registers hold are addresses in it. It lives as long as the program. */
  get memory(): Uint8Array {
    return this.#arena.u8;
  }

  /** Address of struct xdp_md, and behind it of what a run works on (`bpf/layout.ts`, CTX_…). */
  get context(): number {
    return this.#thread.context;
  }

  /** Takes a copy of all that runs change: maps, time, random numbers. What is returned puts it back. */
  save(): () => void {
    return saveMemory(this.#arena.u8);
  }

  /** Sets the time that programs see: nanoseconds. */
  setTime(nowNs: number | bigint): void {
    const now = BigInt(nowNs);
    this.#arena.u32[this.#clock >>> 2] = Number(now / 1_000_000_000n);
    this.#arena.u32[(this.#clock >>> 2) + 1] = Number(now % 1_000_000_000n);
  }

  /**
   * The number of a program, for `map` to hold.
   * @throws RingwayError `NOT_FOUND`; `BAD_ARGUMENT` when such a map takes none of its type.
   */
  programFor(name: string, map: BpfMap): number {
    return this.#object.programFor(map, name);
  }

  /** The number of a program of the object: what a PROG_ARRAY, a device map or a CPU map holds. */
  programNumber(name: string): number {
    return this.#object.program(name).wire.number;
  }

  /**
   * Runs the program on a packet.
   * @param packet 14 to 65,600 bytes, from the Ethernet header on; it is copied.
   * @throws RingwayError `BAD_ARGUMENT` on a packet of another length, or a CPU that there is not.
   */
  run(packet: Uint8Array, { ifindex = 1, rxQueue = 0, egressIfindex = 0, cpu = 0 }: RunContext = {}): RunResult {
    const { length } = packet;
    if (length < PACKET_MIN || length > PACKET_MAX) {
      throw new RingwayError('BAD_ARGUMENT', `packet of ${length} bytes, must have ${PACKET_MIN} to ${PACKET_MAX}`);
    }
    const { cpus = 1 } = this.#options;
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= cpus) {
      throw new RingwayError('BAD_ARGUMENT', `cpu ${cpu}, must be 0 to ${cpus - 1}: raise the option cpus`);
    }
    const start = this.#area + HEADROOM;
    this.#arena.u8.fill(0, this.#area, start);
    this.#arena.u8.set(packet, start);
    this.#set(CTX_DATA, start);
    this.#set(CTX_DATA_META, start);
    this.#set(CTX_DATA_END, start + length);
    this.#set(CTX_HARD_START, this.#area + FRAME_WORDS);
    this.#set(CTX_HARD_END, this.#area + Math.max(FRAME_BYTES - TAILROOM, HEADROOM + length));
    this.#set(CTX_SLOT, 0);
    this.#set(CTX_CPU, cpu);
    this.#set(CTX_FAULT, 0);
    // A redirect that names no target has not that of the run before.
    this.#set(CTX_REDIRECT_KIND, 0);
    this.#set(CTX_REDIRECT_TARGET, 0);
    if (this.#object.maps.size > 0) this.#object.updateRanges();
    this.#thread.prepare(this.#loaded.wire, ifindex, rxQueue, egressIfindex);
    return this.#result(this.#execute());
  }

  /** Runs the program on packets one after another: they see what those before them left in the maps. */
  runBatch(packets: Iterable<Uint8Array>, context: RunContext = {}): RunResult[] {
    return Array.from(packets, (packet) => this.run(packet, context));
  }

  #execute(): number {
    const { context } = this.#thread;
    const { wire, program, maps } = this.#loaded;
    if (this.#engine === 'jit') {
      const instance = this.#thread.get(wire.number)?.instance;
      return Number(BigInt.asUintN(32, instance?.run(context, BigInt(context), 0n) ?? 0n));
    }
    const byNumber = new Map([...this.#object.programs.values()].map((loaded) => [loaded.wire.number, loaded]));
    const { fuel, onStep } = this.#options;
    const { r0 } = interpret({
      arena: this.#arena,
      context,
      program,
      maps: maps.map(({ address }) => address),
      checked: wire.checked,
      ...(fuel === undefined ? {} : { fuel }),
      ...(onStep === undefined ? {} : { onStep }),
      programs: (number) => {
        const loaded = byNumber.get(number);
        return loaded === undefined
          ? undefined
          : { program: loaded.program, maps: loaded.maps.map(({ address }) => address) };
      },
    });
    return Number(BigInt.asUintN(32, r0));
  }

  #set(offset: number, value: number): void {
    this.#arena.u32[(this.#thread.context + offset) >>> 2] = value;
  }

  #word(offset: number): number {
    return this.#arena.u32[(this.#thread.context + offset) >>> 2] ?? 0;
  }

  #result(returned: number): RunResult {
    const [meta, data, end] = [CTX_DATA_META, CTX_DATA, CTX_DATA_END].map((offset) => this.#word(offset)) as [
      number,
      number,
      number,
    ];
    const action = actionName(returned);
    const fault = this.#fault();
    return {
      action,
      returned,
      packet: this.#arena.u8.slice(data, end),
      meta: this.#arena.u8.slice(meta, data),
      ...(action === 'REDIRECT' ? { redirect: this.#redirect() } : {}),
      ...(fault === undefined ? {} : { fault }),
      maps: this.maps,
      events: readEvents(this.#object.maps),
      log: readLogs(this.#arena, [this.#log]),
    };
  }

  #fault(): XdpFault | undefined {
    const kind = this.#word(CTX_FAULT);
    if (kind === 0) return undefined;
    const address = BigInt(this.#word(CTX_FAULT_ADDRESS)) | (BigInt(this.#word(CTX_FAULT_ADDRESS + 4)) << 32n);
    const place = placeOf(this.#loaded.program, this.#word(CTX_FAULT_PC));
    return { reason: faultText(kind), place, address };
  }

  #redirect(): RedirectTarget {
    const kind = this.#word(CTX_REDIRECT_KIND);
    const to = KINDS[kind] ?? 'interface';
    const target = this.#word(CTX_REDIRECT_TARGET);
    if (kind === 0) return { to, target };
    const map = knownMap(this.#arena, this.#word(CTX_REDIRECT_MAP));
    return { to, target, key: this.#word(CTX_REDIRECT_KEY), ...(map === undefined ? {} : { map: map.name }) };
  }
}

/**
 * Loads an object file and makes one of its XDP programs run on packets, with neither root nor kernel. The clock stands still and
 * random numbers are seeded, so that it does the same each time.
 * @param source path of the object file, or the file.
 * @throws RingwayError `BAD_OBJECT` or `BAD_PROGRAM` with file, section or line when it cannot run; `NOT_FOUND`.
 */
export async function loadXdp(source: string | Uint8Array, options: XdpOptions = {}): Promise<XdpProgram> {
  return new XdpProgram(readWith(source, options.variables), options);
}
