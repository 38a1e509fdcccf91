import { setImmediate } from 'node:timers/promises';
import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { CTRL_STATUS_INVALID, CTRL_STATUS_OVERFLOW, CTRL_STATUS_SUCCESS, GREFLIST_MAX } from './control-layout.ts';
import type { Hypervisor } from './hypervisor.ts';
import { createGrefTable, type GrefTableKernels, tableEntry } from './kept-grants.ts';
import { GREFTABLE_MAX, VIFQ_EPOCH, VIFQ_TABLE } from './queue-layout.ts';

/** An entry of a frontend's list. */
export interface GrantEntry {
  readonly ref: number;
  readonly readonly: boolean;
}

/** Pages that were mapped together: they go back to the map area with the last of them. */
interface Run {
  readonly address: number;
  left: number;
}

interface Kept {
  readonly handle: number;
  readonly run: Run;
}

/** Grants of one queue that the frontend asked to keep mapped, by messages of the control ring. On the control thread. */
export class MappedGrants {
  readonly #arena: Arena;
  readonly #hypervisor: Hypervisor;
  readonly #domid: number;
  readonly #name: string;
  /** Addresses of the directions whose kernels look the table up. */
  readonly #queues: readonly number[];
  readonly #table: number;
  readonly #kernels: GrefTableKernels;
  readonly #kept = new Map<number, Kept>();
  /** Forgotten, and perhaps in use by a burst. */
  readonly #leaving = new Set<Kept>();
  #closed = false;

  /** @throws RingwayError `ARENA_FULL` */
  constructor(
    arena: Arena,
    hypervisor: Hypervisor,
    { name, domid, queues }: { readonly name: string; readonly domid: number; readonly queues: readonly number[] },
  ) {
    this.#arena = arena;
    this.#hypervisor = hypervisor;
    this.#domid = domid;
    this.#name = `${name} mappings`;
    this.#queues = queues;
    this.#kernels = arena.kernels<GrefTableKernels>();
    this.#table = createGrefTable(arena, this.#name);
    for (const queue of queues) arena.u32[(queue + VIFQ_TABLE) >>> 2] = this.#table;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** Maps all of a list, or nothing of it. Returns a CTRL_STATUS_…. */
  async add(entries: readonly GrantEntry[]): Promise<number> {
    const refs = new Set(entries.map(({ ref }) => ref));
    if (entries.length > GREFLIST_MAX || this.#kept.size + entries.length > GREFTABLE_MAX) return CTRL_STATUS_OVERFLOW;
    if (refs.size < entries.length || [...refs].some((ref) => ref === 0 || this.#kept.has(ref))) {
      return CTRL_STATUS_INVALID;
    }
    if (entries.length === 0) return CTRL_STATUS_SUCCESS;
    let address: number;
    try {
      address = this.#hypervisor.takePages(entries.length);
    } catch (error) {
      if (error instanceof RingwayError && error.code === 'ARENA_FULL') return CTRL_STATUS_OVERFLOW;
      throw error;
    }
    const run: Run = { address, left: 0 };
    const mapped = this.#hypervisor.map(
      entries.map(({ ref, readonly }) => ({ domid: this.#domid, ref, readonly })),
      address,
    );
    const inserted: number[] = [];
    for (const [i, { status, handle, address: page }] of mapped.entries()) {
      const { ref, readonly } = entries[i] as GrantEntry;
      if (status !== 0) continue;
      run.left++;
      this.#kept.set(ref, { handle, run });
      if (this.#kernels.xenGrefInsert(this.#table, ref, tableEntry(page, readonly)) !== 0) inserted.push(ref);
    }
    if (inserted.length === entries.length) return CTRL_STATUS_SUCCESS;
    if (run.left === 0) this.#hypervisor.freePages(address);
    else await this.remove([...refs]);
    return CTRL_STATUS_INVALID;
  }

  /** Forgets grants, and unmaps them when no burst uses them any more. Returns a CTRL_STATUS_… for each. */
  async remove(refs: readonly number[]): Promise<number[]> {
    const leaving: Kept[] = [];
    const statuses = refs.map((ref) => {
      const kept = this.#kept.get(ref);
      if (kept === undefined) return CTRL_STATUS_INVALID;
      this.#kept.delete(ref);
      this.#kernels.xenGrefRemove(this.#table, ref);
      leaving.push(kept);
      this.#leaving.add(kept);
      return CTRL_STATUS_SUCCESS;
    });
    if (leaving.length === 0) return statuses;
    for (const queue of this.#queues) await this.#burstEnds(queue);
    this.#unmap(leaving.filter((kept) => this.#leaving.delete(kept)));
    return statuses;
  }

  /** Resolves when the burst that `queue` may be at is over. */
  async #burstEnds(queue: number): Promise<void> {
    const word = (queue + VIFQ_EPOCH) >>> 2;
    const seen = Atomics.load(this.#arena.u32, word);
    if (seen % 2 === 0) return;
    while (!this.#closed && Atomics.load(this.#arena.u32, word) === seen) await setImmediate();
  }

  #unmap(all: readonly Kept[]): void {
    if (all.length === 0) return;
    this.#hypervisor.unmap(all.map(({ handle }) => handle));
    for (const { run } of all) {
      run.left--;
      if (run.left === 0) this.#hypervisor.freePages(run.address);
    }
  }

  /** Takes all away: nobody serves the queue any more. */
  release(): void {
    this.#closed = true;
    const all = [...this.#kept.values(), ...this.#leaving];
    this.#kept.clear();
    this.#leaving.clear();
    this.#unmap(all);
    this.#arena.release(this.#name);
  }
}
