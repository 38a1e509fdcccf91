import type { Arena } from '../../memory/arena.ts';
import { BELL_RUNG, EVDEV_BELLS, EVPORT_DEVICE, EVPORT_ID } from '../layout.ts';
import type { EventKernels } from '../port.ts';

/** Atomics.waitAsync as Node has it from 16 on; the ECMAScript 2023 library does not know it. */
type WaitAsync = (words: Int32Array, index: number, value: number) => AsyncWait;
type AsyncWait = { readonly async: false } | { readonly async: true; readonly value: Promise<string> };
const { waitAsync } = Atomics as unknown as { readonly waitAsync: WaitAsync };

/** Word of the bell of the port at address `port`. */
function bellOf(arena: Arena, port: number): number {
  const { u32 } = arena;
  const device = u32[(port + EVPORT_DEVICE) >>> 2] as number;
  const id = u32[(port + EVPORT_ID) >>> 2] as number;
  return ((u32[(device + EVDEV_BELLS + id * 4) >>> 2] as number) + BELL_RUNG) >>> 2;
}

/** Wakes the thread of the port at address `port`, when it sleeps. */
export function ringBell(arena: Arena, port: number): void {
  const rung = bellOf(arena, port);
  Atomics.store(arena.i32, rung, 1);
  Atomics.notify(arena.i32, rung);
}

/**
 * Wakes the event loop of a port's thread when somebody rings. Unlike `EventPort.waitAsync`, the port may be used
 * meanwhile: whoever completes a handler or pushes a message does not wait for a ring.
 */
export class Bell {
  readonly #arena: Arena;
  readonly #port: number;
  readonly #kernels: EventKernels;
  readonly #onRing: () => void;
  /** Word of the bell that is waited on. */
  readonly #rung: number;
  /** One wait at a time: it outlives its use, and serves the next one. */
  #waiting = false;

  constructor(arena: Arena, port: number, onRing: () => void) {
    this.#arena = arena;
    this.#port = port;
    this.#kernels = arena.kernels<EventKernels>();
    this.#rung = bellOf(arena, port);
    this.#onRing = onRing;
  }

  /** From now on a ring calls `onRing`, from the event loop. Returns false, and nothing rings, when the port has something to do. */
  listen(): boolean {
    if (this.#kernels.eventdevPark(this.#port) === 0) return false;
    if (this.#waiting) return true;
    const wait = waitAsync(this.#arena.i32, this.#rung, 0);
    if (!wait.async) {
      this.ignore();
      return false;
    }
    this.#waiting = true;
    wait.value.then(() => {
      this.#waiting = false;
      this.ignore();
      this.#onRing();
    });
    return true;
  }

  /** The thread is awake: nobody needs to ring. */
  ignore(): void {
    this.#kernels.eventdevUnpark(this.#port);
  }
}
