import assert from 'node:assert/strict';
import type { Domain } from 'ringway/xen';
import { frameOf, makeVif, type Served, settle, type VifRigOptions } from './vif-rig.ts';

type Rig = Awaited<ReturnType<typeof makeVif>>;

/** A slot of a tx ring, of an rx ring, or extra information in either. */
export type TxSlot = { ref?: number; offset?: number; flags?: number; id?: number; size: number } | { extra: number[] };
export type RxSlot = { id?: number; offset?: number; flags?: number; status: number } | { extra: number[] };

export const MORE = 4;
export const EXTRA = 8;

/** What one end of a device does to the other. */
export interface AbuseCase {
  /** The advisory or the rule, and what is done. */
  readonly name: string;
  readonly options?: Partial<VifRigOptions>;
  /** Before the ends connect. */
  before?(rig: Rig): void;
  run(abuse: Abuse): Promise<void> | void;
}

/** A device whose one end is played by hand, beside another device of the same backend domain that is left alone. */
export class Abuse {
  readonly rig: Rig;
  readonly #other: Rig;
  readonly #refs: number[] = [];

  constructor(rig: Rig, other: Rig) {
    this.rig = rig;
    this.#other = other;
  }

  get back(): Served {
    return this.rig.netback.queues[0] as Served;
  }

  get front(): Served {
    return this.rig.netfront.queues[0] as Served;
  }

  word(address: number): number {
    return this.rig.arena.u32[address >>> 2] ?? 0;
  }

  /** The shared ring, where the end named has it. */
  sring(end: 'front' | 'back', kind: 'tx' | 'rx'): number {
    return this.word(this[end][kind].address);
  }

  /** A page of the guest with these bytes, granted to the backend, and its reference. */
  page(bytes: Uint8Array = new Uint8Array(), readonly = true): { readonly address: number; readonly ref: number } {
    const { guest, arena } = this.rig;
    const address = guest.allocPages(1);
    arena.u8.set(bytes, address);
    const ref = guest.grants.grant(0, address, { readonly });
    this.#refs.push(ref);
    return { address, ref };
  }

  #put(kind: 'tx' | 'rx', side: 'front' | 'back', slots: readonly (TxSlot | RxSlot)[], announced: number): void {
    const { arena } = this.rig;
    const sring = this.sring(side, kind);
    const producer = (sring + (side === 'front' ? 0 : 8)) >>> 2;
    const from = arena.u32[producer] ?? 0;
    const view = new DataView(arena.u8.buffer);
    for (const [i, slot] of slots.entries()) {
      const place = (from + i) & (this[side][kind].slots - 1);
      const at = sring + 64 + place * (kind === 'tx' ? 12 : 8);
      if ('extra' in slot) arena.u8.set(slot.extra, at);
      else if ('size' in slot) {
        view.setUint32(at, slot.ref ?? 0, true);
        for (const [j, value] of [slot.offset ?? 0, slot.flags ?? 0, slot.id ?? i, slot.size].entries()) {
          view.setUint16(at + 4 + j * 2, value, true);
        }
      } else {
        for (const [j, value] of [
          slot.id ?? place,
          slot.offset ?? 0,
          slot.flags ?? 0,
          slot.status & 0xffff,
        ].entries()) {
          view.setUint16(at + j * 2, value, true);
        }
      }
    }
    Atomics.store(arena.u32, producer, from + announced);
  }

  /** The guest writes requests, and announces so many. */
  putTx(slots: readonly TxSlot[], announced = slots.length): void {
    this.#put('tx', 'front', slots, announced);
  }

  /** The backend's domain writes responses. */
  putRx(slots: readonly RxSlot[], announced = slots.length): void {
    this.#put('rx', 'back', slots, announced);
  }

  /** And to requests: id and status of each. */
  putTxResponses(answers: readonly (readonly [id: number, status: number])[]): void {
    const { arena } = this.rig;
    const sring = this.sring('back', 'tx');
    const from = this.word(sring + 8);
    for (const [i, answer] of answers.entries()) {
      const at = sring + 64 + ((from + i) & (this.back.tx.slots - 1)) * 12;
      arena.u16.set(
        answer.map((value) => value & 0xffff),
        at >>> 1,
      );
    }
    Atomics.store(arena.u32, (sring + 8) >>> 2, from + answers.length);
  }

  /** Responses to requests that the backend has published since index `from`: id and status. */
  txResponses(from: number): [id: number, status: number][] {
    const sring = this.sring('front', 'tx');
    const { u16 } = this.rig.arena;
    return Array.from({ length: (this.word(sring + 8) - from) >>> 0 }, (_, i) => {
      const at = (sring + 64 + ((from + i) & (this.front.tx.slots - 1)) * 12) >>> 1;
      return [u16[at] ?? 0, ((u16[at + 1] ?? 0) << 16) >> 16];
    });
  }

  /** The guest sends a frame by hand, in one slot, and the backend receives it. */
  passByHand(serial: number): void {
    const frame = frameOf(serial, 60 + serial);
    const { ref } = this.page(frame);
    this.putTx([{ ref, size: frame.length }]);
    assert.deepEqual(this.rig.receive(this.back), [frame]);
  }

  /** Requests of the guest that the backend answers, with these statuses, and nothing arrives. It goes on with the next packet. */
  refuses(slots: readonly TxSlot[], statuses: readonly number[]): void {
    const from = this.word(this.sring('front', 'tx') + 8);
    this.putTx(slots);
    assert.deepEqual(this.rig.receive(this.back), []);
    assert.deepEqual(
      this.txResponses(from).map(([, status]) => status),
      statuses,
    );
    assert.equal(this.back.fault(), undefined);
    this.passByHand(1);
  }

  /** The queue of `end` stands still because of `rule`, and touches nothing of the ring. */
  latched(end: 'front' | 'back', kind: 'tx' | 'rx', rule: RegExp): void {
    const { rig } = this;
    assert.deepEqual(rig.receive(this[end]), []);
    rig.make([frameOf(1, 60)]);
    const sent = this[end].send(rig.burst, 1);
    rig.free(sent, 1 - sent);
    assert.match(this[end].fault() ?? '', rule);
    const sring = this.sring(end, kind);
    const before = rig.arena.u8.slice(sring, sring + 4096);
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(rig.receive(this[end]), []);
      rig.make([frameOf(2, 60)]);
      const more = this[end].send(rig.burst, 1);
      rig.free(more, 1 - more);
    }
    assert.deepEqual(rig.arena.u8.slice(sring, sring + 4096), before);
  }

  async reconnect(): Promise<void> {
    await this.rig.netfront.close();
    await settle();
    this.#endGrants();
    await this.rig.netfront.start();
    await settle();
    this.connected();
  }

  connected(): void {
    const { netback, netfront } = this.rig;
    assert.deepEqual([netback.state, netfront.state], [4, 4], String(netback.error ?? netfront.error));
  }

  #endGrants(): void {
    const { grants } = this.rig.guest;
    for (const ref of this.#refs.splice(0)) assert.ok(grants.end(ref), `grant ${ref} is still in use`);
  }

  /** Whatever was done, the other device works, and all that the first one had comes back. */
  async finish(): Promise<void> {
    const [rig, other] = [this.rig, this.#other];
    const ends = [other.netfront.queues[0], other.netback.queues[0]] as [Served, Served];
    for (const [from, to] of [ends, ends.toReversed() as [Served, Served]]) {
      const frames = [60, 1514, 9000, 65_000].map((length, i) => frameOf(i, length));
      other.make(frames);
      assert.equal(from.send(other.burst, frames.length), frames.length);
      assert.deepEqual(other.receive(to), frames);
    }
    for (const { netback, netfront } of [rig, other]) {
      await netfront.close();
      await settle();
      await netback.close();
    }
    this.#endGrants();
    const { maps, unmaps } = rig.driver.costs();
    assert.equal(maps, unmaps);
    const inUse = (domain: Domain): number => domain.grants.inUse;
    assert.deepEqual(
      [rig, other].map(({ guest }) => inUse(guest)),
      [0, 0],
    );
    assert.equal(rig.netfront.bus.lost, 0);
    assert.equal(rig.held(), 0);
    assert.deepEqual(rig.arena.damaged(), []);
    assert.deepEqual(
      rig.arena.regions().filter(({ name }) => /^(other )?(front|back) /.test(name)),
      [],
    );
    // Nothing of it is pinned: its number is free again at once.
    rig.xen.destroyDomain(1);
    rig.xen.createDomain(1, { pages: 1 });
  }
}

/** Does one case from start to end. @throws what does not hold */
export async function runAbuse({ options, before, run }: AbuseCase, mode: VifRigOptions['mode']): Promise<void> {
  const rig = await makeVif({ mode, ...options, devices: 2 });
  const other = await makeVif({ mode, beside: rig });
  const stops = [rig.driver, rig.guest, other.guest].map((domain) => domain.startEvents());
  before?.(rig);
  for (const { netback, netfront } of [rig, other]) {
    await netback.start();
    await netfront.start();
  }
  await settle();
  const abuse = new Abuse(rig, other);
  abuse.connected();
  await run(abuse);
  await abuse.finish();
  for (const stop of stops) stop();
}
