import { Arena } from '#build/memory/arena.js';

/** States of an instance that Binaryen's Asyncify rewrote. */
const UNWINDING = 1;
const REWINDING = 2;
/** What a kernel has on its stack when it stops: two words, then a few hundred bytes a frame. */
const STACK_BYTES = 4096;

interface AsyncifyExports {
  asyncify_get_state(): number;
  asyncify_start_unwind(stack: number): void;
  asyncify_stop_unwind(): void;
  asyncify_start_rewind(stack: number): void;
  asyncify_stop_rewind(): void;
}

/**
 * An arena whose kernels stop before each access that `stopsAt` names, and go on when the scheduler says so: two of these
 * over one memory are two threads, one access at a time, in one. Its module is compiled as `pausable`.
 */
export class PausableArena extends Arena {
  readonly #exports: WebAssembly.Exports;
  readonly #asyncify: AsyncifyExports;
  readonly #stack: number;
  #running = false;
  /** Whether to stop before the access. All kernels run through until it is set, and outside `call`. */
  stopsAt: (address: number, bytes: number) => boolean = () => false;

  constructor(arena: Arena, module: WebAssembly.Module, name: string) {
    super(arena.handle);
    this.#stack = arena.allocate(`${name} stack`, STACK_BYTES);
    this.#exports = new WebAssembly.Instance(module, {
      env: {
        memory: arena.handle.memory,
        access: (address: number, bytes: number) => this.#access(address >>> 0, bytes >>> 0),
      },
    }).exports;
    this.#asyncify = this.#exports as unknown as AsyncifyExports;
  }

  override kernels<K>(): K {
    return this.#exports as K;
  }

  /** Runs kernel `name` with a `yield` before each access that `stopsAt` names. Returns its result. */
  *call(name: string, ...args: readonly number[]): Generator<string, number, void> {
    const kernel = this.#exports[name] as (...args: readonly number[]) => number;
    const run = (): number => {
      this.#running = true;
      const result = kernel(...args);
      this.#running = false;
      return result;
    };
    let result = run();
    while (this.#asyncify.asyncify_get_state() === UNWINDING) {
      this.#asyncify.asyncify_stop_unwind();
      yield name;
      this.#asyncify.asyncify_start_rewind(this.#stack);
      result = run();
    }
    return result;
  }

  #access(address: number, bytes: number): void {
    if (!this.#running || !this.stopsAt(address, bytes)) return;
    if (this.#asyncify.asyncify_get_state() === REWINDING) {
      this.#asyncify.asyncify_stop_rewind();
      return;
    }
    this.u32.set([this.#stack + 8, this.#stack + STACK_BYTES], this.#stack >>> 2);
    this.#asyncify.asyncify_start_unwind(this.#stack);
  }
}
