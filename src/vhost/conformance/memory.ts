import { type Arena, nestArena } from '../../memory/arena.ts';
import { requireSys } from '../../sys/index.ts';
import type { MemoryRegion } from '../protocol.ts';

/** Where the driver and the frontend's process are said to have the memory: far from where anybody really has it. */
const GUEST = 0x4000_0000n;
const USER = 0x7a00_0000_0000n;
const BYTES = 2 << 20;
const NAME = 'guest';

/** A driver's memory: an arena of its own in a file, which is shared with the backend. */
export class GuestMemory {
  readonly arena: Arena;
  readonly fd: number;
  readonly region: MemoryRegion;
  readonly #outer: Arena;
  readonly #sys = requireSys('a conformance check');
  #base = 0;
  #total = 0;

  constructor(outer: Arena) {
    this.#outer = outer;
    let fd = -1;
    this.arena = nestArena(outer, NAME, BYTES, (base, total) => {
      [this.#base, this.#total] = [base, total];
      fd = this.#sys.memfdCreate('ringway-guest', total, { seal: true });
      this.#sys.mapFile(outer.handle.memory, base, total, fd, 0);
    });
    this.fd = fd;
    this.region = { guest: GUEST, user: USER, bytes: BigInt(this.#total), offset: 0n };
  }

  /** What is added to an arena address to make the one that descriptors have. */
  get guestOffset(): bigint {
    return GUEST - BigInt(this.#base);
  }

  /** What SET_VRING_ADDR has for an arena address. */
  user(address: number): bigint {
    return USER + BigInt(address - this.#base);
  }

  /** What descriptors, and the dirty log, have for it. */
  guest(address: number): bigint {
    return GUEST + BigInt(address - this.#base);
  }

  close(): void {
    this.#sys.unmap(this.#outer.handle.memory, this.#base, this.#total);
    this.#outer.release(NAME);
    this.#sys.closeFd(this.fd);
  }
}
