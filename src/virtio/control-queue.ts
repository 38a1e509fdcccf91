import type { Arena } from '../memory/arena.ts';
import { type Chain, type ChainList, createChainList } from './chain-list.ts';
import { type ControlTarget, runControlCommand } from './control-commands.ts';
import { drain } from './drain.ts';
import { USED_SHIFT } from './layout.ts';
import type { VirtqueueDevice } from './queue.ts';

/** Descriptors of the queue at most: as QEMU's, which drivers know. */
export const CONTROL_QUEUE_SIZE = 64;
/** Command bytes that are looked at: far more than a table of addresses that still is one. */
const COMMAND_BYTES_MAX = 65536;
const BURST = 8;
const OK = 0;
const ERROR = 1;

/** What became of the commands of a control queue, since it was made. */
export interface ControlStats {
  readonly accepted: number;
  /** Answered with VIRTIO_NET_ERR. */
  readonly refused: number;
  /** Chains without a byte for an answer: not carried out. */
  readonly malformed: number;
}

/**
 * The device's side of a network device's control queue (virtio 1.1, 5.1.6.5). A command may lie in any descriptors; it
 * is copied once, and only the copy is looked at.
 */
export class ControlQueue {
  readonly #arena: Arena;
  readonly #list: ChainList;
  readonly #records: number;
  #accepted = 0;
  #refused = 0;
  #malformed = 0;

  constructor(arena: Arena, name: string) {
    this.#arena = arena;
    this.#list = createChainList(arena, { name: `${name} chains`, chains: BURST, segments: CONTROL_QUEUE_SIZE });
    this.#records = arena.allocate(`${name} records`, BURST << USED_SHIFT);
  }

  get stats(): ControlStats {
    return { accepted: this.#accepted, refused: this.#refused, malformed: this.#malformed };
  }

  /** Carries out the commands that wait in `queue`. True when it stopped with some left. */
  serve(queue: VirtqueueDevice, target: ControlTarget): boolean {
    return drain(queue, () => {
      const n = queue.take(this.#list, BURST);
      for (let i = 0; i < n; i++) {
        const chain = this.#list.at(i);
        this.#arena.u32.set([chain.id, this.#answer(chain, target)], (this.#records + (i << USED_SHIFT)) >>> 2);
      }
      queue.logWritten(this.#list, n);
      queue.return(this.#records, n);
      return n;
    });
  }

  /** Carries out the command of a chain, and writes its answer. Returns the bytes written. */
  #answer(chain: Chain, target: ControlTarget): number {
    const place = chain.writable.find(({ length }) => length > 0);
    if (place === undefined) {
      this.#malformed++;
      return 0;
    }
    const bytes = this.#copy(chain);
    const accepted = bytes !== undefined && runControlCommand(target, bytes);
    if (accepted) this.#accepted++;
    else this.#refused++;
    this.#arena.u8[place.address] = accepted ? OK : ERROR;
    return 1;
  }

  #copy({ readable }: Chain): Uint8Array | undefined {
    const total = readable.reduce((sum, { length }) => sum + length, 0);
    if (total > COMMAND_BYTES_MAX) return undefined;
    const bytes = new Uint8Array(total);
    let at = 0;
    for (const { address, length } of readable) {
      bytes.set(this.#arena.u8.subarray(address, address + length), at);
      at += length;
    }
    return bytes;
  }
}
