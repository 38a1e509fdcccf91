import { setImmediate } from 'node:timers/promises';
import type { Arena } from '../memory/arena.ts';
import {
  CTRL_ADD_GREF_MAPPING,
  CTRL_DEL_GREF_MAPPING,
  CTRL_GET_GREF_MAPPING_SIZE,
  CTRL_GET_HASH_FLAGS,
  CTRL_GET_HASH_MAPPING_SIZE,
  CTRL_SET_HASH_ALGORITHM,
  CTRL_SET_HASH_FLAGS,
  CTRL_SET_HASH_KEY,
  CTRL_SET_HASH_MAPPING,
  CTRL_SET_HASH_MAPPING_SIZE,
  CTRL_STATUS_INVALID,
  CTRL_STATUS_NOT_SUPPORTED,
  CTRL_STATUS_OVERFLOW,
  CTRL_STATUS_SUCCESS,
  CTRLREQ_BYTES,
  CTRLREQ_DATA,
  CTRLREQ_ID,
  CTRLREQ_TYPE,
  CTRLRSP_BYTES,
  CTRLRSP_DATA,
  CTRLRSP_ID,
  CTRLRSP_STATUS,
  CTRLRSP_TYPE,
  GREFLIST_F_READONLY,
  GREFLIST_FLAGS,
  GREFLIST_MAX,
  GREFLIST_REF,
  GREFLIST_SHIFT,
  GREFLIST_STATUS,
  VIFHASH_SIZE_MAX,
} from './control-layout.ts';
import { HASH_FLAGS, type HashSettings } from './hash.ts';
import type { CopyBatch, Hypervisor } from './hypervisor.ts';
import { XEN_PAGE_BYTES } from './layout.ts';
import type { MappedGrants } from './mapped-grants.ts';
import { GREFTABLE_MAX } from './queue-layout.ts';
import type { NetRing } from './ring.ts';
import { unwind } from './staging.ts';

/** Requests between two turns of the event loop, so that a frontend that asks without end stops nobody else. */
const REQUESTS_A_TURN = 4;

interface ControlKernels {
  xenRingTakeRequests(ring: number, target: number, max: number): number;
  xenRingPushResponses(ring: number, source: number, n: number): number;
}

/** What a backend serves its control ring with. */
export interface ControlServerOptions {
  readonly arena: Arena;
  readonly hypervisor: Hypervisor;
  readonly name: string;
  readonly frontend: number;
  readonly ring: NetRing;
  /** The backend's event channel of the ring. */
  readonly port: number;
  /** Undefined: nothing is spread by what the frontend says. */
  readonly hash: HashSettings | undefined;
  /** By queue; undefined when grants are not kept mapped by messages. */
  readonly grants: readonly (MappedGrants | undefined)[];
}

type Answer = readonly [status: number, data?: number];

/** The backend's end of a control ring: answers one request after another, on the control thread. */
export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #kernels: ControlKernels;
  readonly #batch: CopyBatch;
  /** A request, an answer, and a page that is copied out of the frontend. */
  readonly #request: number;
  readonly #answer: number;
  readonly #page: number;
  readonly #undo: (() => void)[] = [];
  #working: Promise<void> | undefined;
  #closed = false;

  /** @throws RingwayError `ARENA_FULL` */
  constructor(options: ControlServerOptions) {
    const { arena, hypervisor, name, port } = options;
    this.#options = options;
    this.#kernels = arena.kernels<ControlKernels>();
    try {
      this.#batch = hypervisor.createBatch(`${name} control copies`, 1);
      this.#undo.push(() => arena.release(`${name} control copies`));
      this.#page = arena.allocate(`${name} control`, XEN_PAGE_BYTES + CTRLREQ_BYTES + CTRLRSP_BYTES);
      this.#undo.push(() => arena.release(`${name} control`));
    } catch (error) {
      unwind(this.#undo);
      throw error;
    }
    this.#request = this.#page + XEN_PAGE_BYTES;
    this.#answer = this.#request + CTRLREQ_BYTES;
    hypervisor.events.listen(port, () => {
      // However many events come, one work is under way.
      this.#working ??= this.#work().finally(() => {
        this.#working = undefined;
      });
    });
  }

  async #work(): Promise<void> {
    const { arena, hypervisor, ring, port } = this.#options;
    const { u16, u32 } = arena;
    for (let served = 1; !this.#closed; served++) {
      if (this.#kernels.xenRingTakeRequests(ring.address, this.#request, 1) === 0) {
        if (!ring.finalCheck()) return;
        continue;
      }
      const type = u16[(this.#request + CTRLREQ_TYPE) >>> 1] ?? 0;
      const words = (this.#request + CTRLREQ_DATA) >>> 2;
      const [status, data = 0] = await this.#serve(type, u32[words] ?? 0, u32[words + 1] ?? 0, u32[words + 2] ?? 0);
      if (this.#closed) return;
      u16[(this.#answer + CTRLRSP_ID) >>> 1] = u16[(this.#request + CTRLREQ_ID) >>> 1] ?? 0;
      u16[(this.#answer + CTRLRSP_TYPE) >>> 1] = type;
      u32[(this.#answer + CTRLRSP_STATUS) >>> 2] = status;
      u32[(this.#answer + CTRLRSP_DATA) >>> 2] = data;
      this.#kernels.xenRingPushResponses(ring.address, this.#answer, 1);
      if (ring.needsNotify()) hypervisor.send(port);
      if (served % REQUESTS_A_TURN === 0) await setImmediate();
    }
  }

  async #serve(type: number, first: number, second: number, third: number): Promise<Answer> {
    if (type >= CTRL_GET_GREF_MAPPING_SIZE && type <= CTRL_DEL_GREF_MAPPING) {
      return this.#serveGrants(type, first, second, third);
    }
    const { hash } = this.#options;
    if (hash === undefined) return [CTRL_STATUS_NOT_SUPPORTED];
    switch (type) {
      case CTRL_GET_HASH_FLAGS:
        return [CTRL_STATUS_SUCCESS, HASH_FLAGS];
      case CTRL_SET_HASH_FLAGS:
        return [hash.setFlags(first)];
      case CTRL_SET_HASH_KEY: {
        if (second > XEN_PAGE_BYTES) return [CTRL_STATUS_OVERFLOW];
        const key = this.#read(first, second);
        return [key === undefined ? CTRL_STATUS_INVALID : hash.setKey(key)];
      }
      case CTRL_GET_HASH_MAPPING_SIZE:
        return [CTRL_STATUS_SUCCESS, VIFHASH_SIZE_MAX];
      case CTRL_SET_HASH_MAPPING_SIZE:
        return [hash.setMappingSize(first)];
      case CTRL_SET_HASH_MAPPING: {
        // Before anything is copied: the frontend names both numbers.
        if (!hash.fits(third, second)) return [CTRL_STATUS_OVERFLOW];
        const bytes = this.#read(first, second * 4);
        if (bytes === undefined) return [CTRL_STATUS_INVALID];
        return [hash.setMapping(third, [...new Uint32Array(bytes.buffer)])];
      }
      case CTRL_SET_HASH_ALGORITHM:
        return [hash.setAlgorithm(first)];
      default:
        return [CTRL_STATUS_NOT_SUPPORTED];
    }
  }

  async #serveGrants(type: number, queue: number, list: number, count: number): Promise<Answer> {
    const { grants } = this.#options;
    if (grants.every((kept) => kept === undefined)) return [CTRL_STATUS_NOT_SUPPORTED];
    const kept = grants[queue];
    if (kept === undefined) return [CTRL_STATUS_INVALID];
    if (type === CTRL_GET_GREF_MAPPING_SIZE) return [CTRL_STATUS_SUCCESS, GREFTABLE_MAX];
    if (count > GREFLIST_MAX) return [CTRL_STATUS_OVERFLOW];
    const bytes = this.#read(list, count << GREFLIST_SHIFT);
    if (bytes === undefined) return [CTRL_STATUS_INVALID];
    const view = new DataView(bytes.buffer);
    const entries = Array.from({ length: count }, (_, i) => ({
      ref: view.getUint32((i << GREFLIST_SHIFT) + GREFLIST_REF, true),
      flags: view.getUint16((i << GREFLIST_SHIFT) + GREFLIST_FLAGS, true),
    }));
    if (type === CTRL_ADD_GREF_MAPPING) {
      if (entries.some(({ flags }) => (flags & ~GREFLIST_F_READONLY) !== 0)) return [CTRL_STATUS_INVALID];
      return [await kept.add(entries.map(({ ref, flags }) => ({ ref, readonly: flags !== 0 })))];
    }
    const statuses = await kept.remove(entries.map(({ ref }) => ref));
    for (const [i, status] of statuses.entries()) {
      this.#options.arena.u16[(this.#page + (i << GREFLIST_SHIFT) + GREFLIST_STATUS) >>> 1] = status;
    }
    // A list that the frontend keeps to itself is its own loss: the answer says whether all went well.
    if (!this.#closed) this.#write(list, count << GREFLIST_SHIFT);
    return [statuses.every((status) => status === CTRL_STATUS_SUCCESS) ? CTRL_STATUS_SUCCESS : CTRL_STATUS_INVALID];
  }

  /** The first `length` (up to 4,096) bytes of a page of the frontend: copied, then looked at. Undefined when they cannot be. */
  #read(ref: number, length: number): Uint8Array | undefined {
    if (length === 0) return new Uint8Array();
    const { frontend, arena } = this.#options;
    const source = { domid: frontend, ref, offset: 0 };
    if (!this.#copy({ source, target: { address: this.#page }, length })) return undefined;
    return arena.u8.slice(this.#page, this.#page + length);
  }

  #write(ref: number, length: number): void {
    if (length === 0) return;
    const target = { domid: this.#options.frontend, ref, offset: 0 };
    this.#copy({ source: { address: this.#page }, target, length });
  }

  #copy(copy: Parameters<CopyBatch['set']>[1]): boolean {
    this.#batch.set(0, copy);
    this.#options.hypervisor.copy(this.#batch, 1);
    return this.#batch.status(0) === 0;
  }

  /** The rule of the ring that the frontend broke. */
  fault(): string | undefined {
    return this.#options.ring.broken();
  }

  /** Ends it: whatever is under way answers nothing any more. */
  close(): void {
    this.#closed = true;
    this.#options.hypervisor.events.listen(this.#options.port, undefined);
    unwind(this.#undo);
  }
}
