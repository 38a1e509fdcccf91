import {
  CTX_DATA,
  CTX_DATA_END,
  CTX_DATA_META,
  CTX_FAULT,
  CTX_FAULT_ADDRESS,
  CTX_FAULT_PC,
  CTX_FUEL,
  FAULT_MEMORY,
  FRAME_BYTES,
} from '../layout.ts';
import type { Program } from '../program.ts';
import { Code, OP, VALUE } from './encoder.ts';
import type { State } from './kinds.ts';

/** Name of the kernel that gives back the spin lock of a program that ends. */
export const RELEASE_LOCK = 'bpfReleaseLock';

/** A map as compiled code reaches it: its words are constants of the code. */
export interface MapConstants {
  /** Of the map's words. */
  readonly address: number;
  readonly kind: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  /** Address of the values of CPU 0, bytes from one to the next, from one CPU's to the next one's (0: one set for all). */
  readonly values: number;
  readonly stride: number;
  readonly cpuSpan: number;
  /** Bytes from `values` on that a program may reach; 0 when its values are no memory for programs. */
  readonly reachableBytes: number;
  /** Programs may write the values. */
  readonly isWritable: boolean;
  /** In a hash: what its words say (`maps/layout.ts`, HASH_…). */
  readonly hash?: HashConstants;
}

/** Where a hash keeps its chains. */
export interface HashConstants {
  readonly buckets: number;
  readonly shift: number;
  readonly elements: number;
  readonly elementSize: number;
  /** The odd factor. */
  readonly seed: bigint;
  /** Address of a byte an element that says whether it was used lately; 0 when nobody asks. */
  readonly used: number;
}

/** What is the same in all functions of a module. */
export interface ModuleContext {
  readonly program: Program;
  readonly maps: readonly MapConstants[];
  /** Every access is checked, and loops and calls are counted. */
  readonly checked: boolean;
  /** By instruction: 1 where that is left out. */
  readonly proven: Uint8Array | undefined;
  /** Index of the WebAssembly function of a kernel, by its export's name. */
  readonly kernels: ReadonlyMap<string, number>;
  /** Index of the WebAssembly function of `functions[0]`; the others follow. */
  readonly firstFunction: number;
  /** Index of the type of such functions. */
  readonly functionType: number;
  /** A run takes no more than `fuel`: nothing need be counted, but for programs that it goes on with. */
  readonly isBounded: boolean;
  /** Loops or calls are there to be counted. */
  readonly usesFuel: boolean;
  /** Fuel of a run. */
  readonly fuel: number;
}

/** Where a function's code keeps what all parts of it use. */
export interface FunctionLocals {
  /** Parameter or local with the context's address, i32. */
  readonly context: number;
  /** Value of r10, i32: one behind the end of the frame. */
  readonly frame: number;
  /** r0 to r9, i64. */
  readonly registers: readonly number[];
}

/** Writes the code of one function: keeps count of what is open, and of the locals that hold the packet's bounds. */
export class Writer {
  readonly code: Code;
  readonly module: ModuleContext;
  readonly locals: FunctionLocals;
  /** Of the packet: i32. */
  readonly data: number;
  readonly dataEnd: number;
  readonly dataMeta: number;
  /** What is known before the instruction that is being written. */
  state: State | undefined;
  /** Some code reads the packet's bounds. */
  usesPacket = false;
  /** Some code may read the context's words in memory. */
  usesContext = false;
  /** By size in bytes, the local that holds how many places in the packet such an access may begin at. */
  readonly rooms = new Map<number, number>();
  /** Places on the stack that are locals, by their offset from r10. */
  readonly places: ReadonlyMap<number, { readonly bytes: number; readonly local: number }>;
  readonly #start: number;
  readonly #faultPc: number;
  readonly #faultKind: number;
  /** The address that is being checked, i64. */
  readonly address: number;
  readonly fuel: number;
  /** Four i32 and three i64 for what a call is put together from. */
  readonly index: number;
  readonly number: number;
  readonly hash: number;
  readonly keyAt: number;
  readonly words: readonly [number, number];
  readonly product: number;
  #depth = 0;
  #exitDepth = 0;
  #faultDepth = 0;

  /** @param places of the stack that are to be locals: sizes by offset from r10. */
  constructor(code: Code, module: ModuleContext, locals: FunctionLocals, places: ReadonlyMap<number, number>) {
    this.code = code;
    this.module = module;
    this.locals = locals;
    this.places = new Map([...places].map(([at, bytes]) => [at, { bytes, local: code.local(VALUE.I64) }]));
    this.data = code.local(VALUE.I32);
    this.dataEnd = code.local(VALUE.I32);
    this.dataMeta = code.local(VALUE.I32);
    this.#start = code.local(VALUE.I64);
    this.#faultPc = code.local(VALUE.I32);
    this.#faultKind = code.local(VALUE.I32);
    this.address = code.local(VALUE.I64);
    this.fuel = code.local(VALUE.I32);
    this.index = code.local(VALUE.I32);
    this.number = code.local(VALUE.I32);
    this.hash = code.local(VALUE.I32);
    this.keyAt = code.local(VALUE.I32);
    this.words = [code.local(VALUE.I64), code.local(VALUE.I64)];
    this.product = code.local(VALUE.I64);
  }

  block(): void {
    this.#depth++;
    this.code.block();
  }

  loop(): void {
    this.#depth++;
    this.code.loop();
  }

  if(type?: number): void {
    this.#depth++;
    this.code.if(type);
  }

  else(): void {
    this.code.else();
  }

  end(): void {
    this.#depth--;
    this.code.end();
  }

  br(depth: number): void {
    this.code.br(depth);
  }

  brIf(depth: number): void {
    this.code.brIf(depth);
  }

  brTable(depths: readonly number[], otherwise: number): void {
    this.code.brTable(depths, otherwise);
  }

  /** Whether instruction `pc` looks at where it goes: nobody has proven that it stays within what it may reach. */
  isChecked(pc: number): boolean {
    return this.module.checked && this.module.proven?.[pc] !== 1;
  }

  /** Begins the program: what follows may leave it with `toExit` and `fault`. */
  begin(): void {
    this.block();
    this.#exitDepth = this.#depth;
    if (!this.module.checked) return;
    this.block();
    this.#faultDepth = this.#depth;
  }

  /** Ends it; r0 is the result. All of its code has left. */
  finish(): void {
    if (this.module.checked) {
      const { code, locals } = this;
      code.op(OP.UNREACHABLE);
      this.end();
      code.get(locals.context).get(this.#faultKind).access(OP.I32_STORE, CTX_FAULT);
      code.get(locals.context).get(this.#faultPc).access(OP.I32_STORE, CTX_FAULT_PC);
      code.get(locals.context).get(this.address).access(OP.I64_STORE, CTX_FAULT_ADDRESS);
      code.i64(0n).set(this.register(0));
    } else {
      this.code.op(OP.UNREACHABLE);
    }
    this.end();
  }

  toExit(): void {
    this.code.br(this.#depth - this.#exitDepth);
  }

  /** Leaves when the i32 on the stack is not 0. */
  toExitIf(): void {
    this.code.brIf(this.#depth - this.#exitDepth);
  }

  /** Ends the program for `kind` (FAULT_…) at instruction `pc`. */
  fault(pc: number, kind = FAULT_MEMORY): void {
    this.code.i32(pc).set(this.#faultPc).i32(kind).set(this.#faultKind);
    this.code.br(this.#depth - this.#faultDepth);
  }

  /** The local of r0 to r9. */
  register(number: number): number {
    return this.locals.registers[number] as number;
  }

  /** Puts a register on the stack, as i64. */
  getRegister(number: number): void {
    if (number === 10) this.code.get(this.locals.frame).op(OP.I64_EXTEND_I32_U);
    else this.code.get(this.register(number));
  }

  /** Puts its low half there, as i32. */
  getLow(number: number): void {
    if (number === 10) this.code.get(this.locals.frame);
    else this.code.get(this.register(number)).op(OP.I32_WRAP_I64);
  }

  /** Puts `ea - start of the packet <u room for bytes` on the stack: 1 when such an access is within it. */
  isInPacket(bytes: number): void {
    this.usesPacket = true;
    let room = this.rooms.get(bytes);
    if (room === undefined) {
      room = this.code.local(VALUE.I64);
      this.rooms.set(bytes, room);
    }
    this.code.get(this.address).get(this.#start).op(OP.I64_SUB).get(room).op(OP.I64_LT_U);
  }

  /** Takes the packet's bounds from the context: at the start of a function, and after they may have moved. */
  loadPacket(): void {
    this.defer((code) => {
      if (!this.usesPacket) return;
      const { context } = this.locals;
      code.get(context).access(OP.I32_LOAD, CTX_DATA).set(this.data);
      code.get(context).access(OP.I32_LOAD, CTX_DATA_END).set(this.dataEnd);
      code.get(context).access(OP.I32_LOAD, CTX_DATA_META).set(this.dataMeta);
      this.deriveBounds(code);
    });
  }

  /** Computes what checks compare with, from the packet's bounds. */
  deriveBounds(code: Code): void {
    if (this.rooms.size === 0) return;
    code.get(this.dataMeta).op(OP.I64_EXTEND_I32_U).set(this.#start);
    for (const [bytes, room] of this.rooms) {
      // max(0, length - bytes + 1): a shorter packet has no place for it.
      code
        .get(this.dataEnd)
        .get(this.dataMeta)
        .op(OP.I32_SUB)
        .i32(bytes - 1)
        .op(OP.I32_SUB)
        .tee(this.#faultPc);
      code.i32(0).get(this.#faultPc).i32(0).op(OP.I32_GT_S, OP.SELECT).op(OP.I64_EXTEND_I32_U).set(room);
    }
  }

  readonly #deferred: { readonly at: number; readonly write: (code: Code) => void }[] = [];

  /** Leaves a place for instructions that depend on what all of the code needs. They may make no locals. */
  defer(write: (code: Code) => void): void {
    this.#deferred.push({ at: this.code.bytes.length, write });
  }

  /** Writes what was deferred, from the end on, so that places stay right. */
  fillIn(): void {
    for (const { at, write } of this.#deferred.reverse()) {
      const code = new Code(0);
      write(code);
      this.code.bytes.splice(at, 0, ...code.bytes);
    }
  }

  /** Takes `amount` off the fuel; ends the program when none is left. */
  burn(amount: number, pc: number, kind: number): void {
    if (!this.module.usesFuel || this.module.isBounded) return;
    this.code.get(this.fuel).i32(amount).op(OP.I32_SUB).tee(this.fuel).i32(0).op(OP.I32_LT_S);
    this.if();
    this.fault(pc, kind);
    this.end();
  }

  loadFuel(): void {
    if (this.module.usesFuel) this.code.get(this.locals.context).access(OP.I32_LOAD, CTX_FUEL).set(this.fuel);
  }

  storeFuel(): void {
    if (this.module.usesFuel) this.code.get(this.locals.context).get(this.fuel).access(OP.I32_STORE, CTX_FUEL);
  }

  /** Puts the address of the lowest byte of this function's frame on the stack. */
  getFrameStart(): void {
    this.code.get(this.locals.frame).i32(FRAME_BYTES).op(OP.I32_SUB);
  }
}
