import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import {
  CTRL_ADD_GREF_MAPPING,
  CTRL_DEL_GREF_MAPPING,
  CTRL_GET_GREF_MAPPING_SIZE,
  CTRL_SET_HASH_ALGORITHM,
  CTRL_SET_HASH_FLAGS,
  CTRL_SET_HASH_KEY,
  CTRL_SET_HASH_MAPPING,
  CTRL_SET_HASH_MAPPING_SIZE,
  CTRL_STATUS_SUCCESS,
  CTRLREQ_BYTES,
  CTRLREQ_DATA,
  CTRLREQ_ID,
  CTRLRSP_BYTES,
  CTRLRSP_DATA,
  CTRLRSP_ID,
  CTRLRSP_STATUS,
  GREFLIST_F_READONLY,
  GREFLIST_FLAGS,
  GREFLIST_MAX,
  GREFLIST_REF,
  GREFLIST_SHIFT,
  GREFLIST_STATUS,
} from './control-layout.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { GrantEntry } from './mapped-grants.ts';
import type { NetRing } from './ring.ts';

interface ControlKernels {
  xenRingPushRequests(ring: number, source: number, n: number): number;
  xenRingTakeResponses(ring: number, target: number, max: number): number;
}

/** What the backend answered. */
export interface ControlAnswer {
  /** CTRL_STATUS_…: 0 is success, 1 not supported. */
  readonly status: number;
  readonly data: number;
}

/** A page that lists and keys are handed to the backend in. */
export interface ControlPage {
  readonly address: number;
  readonly ref: number;
}

/** How packets to a frontend are to be spread over its queues: Toeplitz over these types, key and mapping. */
export interface VifHash {
  /** Bits: 1 addresses of IPv4, 2 and ports of TCP; 4 and 8 the same of IPv6. */
  readonly flags: number;
  /** At most 40 bytes. */
  readonly key: Uint8Array;
  /** Queues, at most 128: the hash modulo their number says which. */
  readonly mapping: readonly number[];
}

/** The frontend's end of a control ring: one request at a time, on the control thread. */
export class ControlClient {
  readonly #arena: Arena;
  readonly #hypervisor: Hypervisor;
  readonly #ring: NetRing;
  readonly #port: number;
  readonly #page: ControlPage;
  readonly #name: string;
  readonly #kernels: ControlKernels;
  readonly #request: number;
  readonly #answer: number;
  #id = 0;
  #waiting: { readonly id: number; resolve(answer: ControlAnswer): void; reject(error: unknown): void } | undefined;
  #work: Promise<unknown> = Promise.resolve();

  /** @throws RingwayError `ARENA_FULL` */
  constructor(
    arena: Arena,
    hypervisor: Hypervisor,
    {
      name,
      ring,
      port,
      page,
    }: { readonly name: string; readonly ring: NetRing; readonly port: number; readonly page: ControlPage },
  ) {
    this.#arena = arena;
    this.#hypervisor = hypervisor;
    this.#ring = ring;
    this.#port = port;
    this.#page = page;
    this.#name = `${name} control`;
    this.#kernels = arena.kernels<ControlKernels>();
    this.#request = arena.allocate(this.#name, CTRLREQ_BYTES + CTRLRSP_BYTES);
    this.#answer = this.#request + CTRLREQ_BYTES;
    hypervisor.events.listen(port, () => this.#take());
  }

  /** Asks one thing, after all that was asked before. @throws RingwayError `CLOSED` when the connection ends first */
  #ask(type: number, first = 0, second = 0, third = 0): Promise<ControlAnswer> {
    const { u16, u32 } = this.#arena;
    return new Promise((resolve, reject) => {
      this.#id = (this.#id + 1) & 0xffff;
      this.#waiting = { id: this.#id, resolve, reject };
      u16.set([this.#id, type], (this.#request + CTRLREQ_ID) >>> 1);
      u32.set([first, second, third], (this.#request + CTRLREQ_DATA) >>> 2);
      this.#kernels.xenRingPushRequests(this.#ring.address, this.#request, 1);
      if (this.#ring.needsNotify()) this.#hypervisor.send(this.#port);
      // The answer may be there already.
      this.#take();
    });
  }

  #take(): void {
    const { u16, u32 } = this.#arena;
    do {
      while (this.#kernels.xenRingTakeResponses(this.#ring.address, this.#answer, 1) === 1) {
        const waiting = this.#waiting;
        if (waiting === undefined || u16[(this.#answer + CTRLRSP_ID) >>> 1] !== waiting.id) continue;
        this.#waiting = undefined;
        waiting.resolve({
          status: u32[(this.#answer + CTRLRSP_STATUS) >>> 2] ?? 0,
          data: u32[(this.#answer + CTRLRSP_DATA) >>> 2] ?? 0,
        });
      }
    } while (this.#ring.finalCheck());
    if (this.#ring.broken() !== undefined) this.#fail(`the backend broke it: ${this.#ring.broken()}`);
  }

  #fail(why: string): void {
    this.#waiting?.reject(new RingwayError('CLOSED', `${this.#name}: ${why}`));
    this.#waiting = undefined;
  }

  #after<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => {});
    return done;
  }

  /** Asks anything, in the numbers of io/netif.h. */
  request(type: number, ...data: readonly number[]): Promise<ControlAnswer> {
    return this.#after(() => this.#ask(type, ...data));
  }

  #list(entries: readonly GrantEntry[]): void {
    for (const [i, { ref, readonly }] of entries.entries()) {
      const at = this.#page.address + (i << GREFLIST_SHIFT);
      this.#arena.u32[(at + GREFLIST_REF) >>> 2] = ref;
      this.#arena.u16[(at + GREFLIST_FLAGS) >>> 1] = readonly ? GREFLIST_F_READONLY : 0;
      this.#arena.u16[(at + GREFLIST_STATUS) >>> 1] = 0;
    }
  }

  /** Has the backend keep grants of a queue mapped, 512 in a message, as many as it takes. Returns how many it keeps. */
  keep(queue: number, entries: readonly GrantEntry[]): Promise<number> {
    return this.#after(async () => {
      const { status, data } = await this.#ask(CTRL_GET_GREF_MAPPING_SIZE, queue);
      if (status !== CTRL_STATUS_SUCCESS) return 0;
      let kept = 0;
      while (kept < Math.min(data, entries.length)) {
        const some = entries.slice(kept, Math.min(kept + GREFLIST_MAX, data));
        this.#list(some);
        const added = await this.#ask(CTRL_ADD_GREF_MAPPING, queue, this.#page.ref, some.length);
        if (added.status !== CTRL_STATUS_SUCCESS) break;
        kept += some.length;
      }
      return kept;
    });
  }

  /** Has it let grants go: up to 512. Returns what it says of each. */
  letGo(queue: number, refs: readonly number[]): Promise<number[]> {
    return this.#after(async () => {
      this.#list(refs.map((ref) => ({ ref, readonly: false })));
      await this.#ask(CTRL_DEL_GREF_MAPPING, queue, this.#page.ref, refs.length);
      return refs.map(
        (_, i) => this.#arena.u16[(this.#page.address + (i << GREFLIST_SHIFT) + GREFLIST_STATUS) >>> 1] ?? 0,
      );
    });
  }

  /** Has the backend spread packets by a hash. False when it does not. */
  setHash({ flags, key, mapping }: VifHash): Promise<boolean> {
    const { address, ref } = this.#page;
    const steps: (() => Promise<ControlAnswer>)[] = [
      () => this.#ask(CTRL_SET_HASH_ALGORITHM, 1),
      () => {
        this.#arena.u8.set(key, address);
        return this.#ask(CTRL_SET_HASH_KEY, ref, key.length);
      },
      () => this.#ask(CTRL_SET_HASH_MAPPING_SIZE, mapping.length),
      () => {
        this.#arena.u32.set(mapping, address >>> 2);
        return this.#ask(CTRL_SET_HASH_MAPPING, ref, mapping.length, 0);
      },
      () => this.#ask(CTRL_SET_HASH_FLAGS, flags),
    ];
    return this.#after(async () => {
      for (const step of steps) if ((await step()).status !== CTRL_STATUS_SUCCESS) return false;
      return true;
    });
  }

  /** Ends it: what is asked is answered no more. */
  close(): void {
    this.#fail('the connection has ended');
    this.#hypervisor.events.listen(this.#port, undefined);
    this.#arena.release(this.#name);
  }
}
