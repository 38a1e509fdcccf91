import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { type ChainList, createChainList } from './chain-list.ts';
import { NET_COMMAND } from './control-commands.ts';
import type { RssSettings } from './control-state.ts';
import { USED_SHIFT } from './layout.ts';
import { MAC_BYTES } from './net-config.ts';
import type { VirtqueueDriver } from './queue.ts';

/** Commands that may be under way at once. */
const SLOTS = 8;
/** Where the answer lies in a slot; the command before it. */
const ANSWER = 2048;
const SLOT_BYTES = 2112;
/** What an answer is before the device writes it: neither OK nor ERR. */
const UNANSWERED = 0xff;

/** The switches of a network device's receive mode (virtio 1.1, 5.1.6.5.1). */
export type RxMode = 'promisc' | 'allmulti' | 'alluni' | 'nomulti' | 'nouni' | 'nobcast';

const RX_COMMANDS: Record<RxMode, number> = {
  promisc: NET_COMMAND.RX_PROMISC,
  allmulti: NET_COMMAND.RX_ALLMULTI,
  alluni: NET_COMMAND.RX_ALLUNI,
  nomulti: NET_COMMAND.RX_NOMULTI,
  nouni: NET_COMMAND.RX_NOUNI,
  nobcast: NET_COMMAND.RX_NOBCAST,
};

interface Waiting {
  readonly command: number;
  readonly slot: number;
  resolve(): void;
  reject(error: RingwayError): void;
}

/** Little-endian numbers and bytes, one after another. */
function pack(...parts: readonly (readonly [bytes: 1 | 2 | 4, value: number] | Uint8Array)[]): Uint8Array {
  const bytes: number[] = [];
  for (const part of parts) {
    if (part instanceof Uint8Array) bytes.push(...part);
    else for (let i = 0; i < part[0]; i++) bytes.push((part[1] >>> (8 * i)) & 255);
  }
  return Uint8Array.from(bytes);
}

/**
 * The driver's side of a network device's control queue. Each command is a promise, which `poll` settles: resolved when
 * the device accepts it, rejected with `UNSUPPORTED` when it does not, or with `SYSTEM` when the queue breaks.
 */
export class ControlQueueDriver {
  readonly #arena: Arena;
  readonly #queue: VirtqueueDriver;
  readonly #notify: () => void;
  readonly #list: ChainList;
  readonly #slots: number;
  readonly #records: number;
  readonly #free = Array.from({ length: SLOTS }, (_, slot) => slot);
  readonly #waiting = new Map<number, Waiting>();

  /**
   * @param options.notify tells the device that the queue has something.
   * @throws RingwayError `ARENA_FULL`. The device must be able to reach the region `NAME commands`.
   */
  constructor(arena: Arena, options: { name: string; queue: VirtqueueDriver; notify: () => void }) {
    const { name, queue, notify } = options;
    this.#arena = arena;
    this.#queue = queue;
    this.#notify = notify;
    this.#list = createChainList(arena, { name: `${name} chains`, chains: 1, segments: 3 });
    this.#slots = arena.allocate(`${name} commands`, SLOTS * SLOT_BYTES);
    this.#records = arena.allocate(`${name} records`, SLOTS << USED_SHIFT);
  }

  /** Commands that the device has not answered. */
  get pending(): number {
    return this.#waiting.size;
  }

  setRxMode(mode: RxMode, on: boolean): Promise<void> {
    return this.send(RX_COMMANDS[mode], pack([1, Number(on)]));
  }

  /** Addresses to receive besides the device's own: station addresses, and those of groups. */
  setMacTable(unicast: readonly Uint8Array[], multicast: readonly Uint8Array[]): Promise<void> {
    const list = (macs: readonly Uint8Array[]) => [[4, macs.length], ...macs] as const;
    return this.send(NET_COMMAND.MAC_TABLE_SET, pack(...list(unicast), ...list(multicast)));
  }

  setMac(mac: Uint8Array): Promise<void> {
    return this.send(NET_COMMAND.MAC_ADDR_SET, pack(mac.subarray(0, MAC_BYTES)));
  }

  addVlan(vlan: number): Promise<void> {
    return this.send(NET_COMMAND.VLAN_ADD, pack([2, vlan]));
  }

  deleteVlan(vlan: number): Promise<void> {
    return this.send(NET_COMMAND.VLAN_DEL, pack([2, vlan]));
  }

  /** Gratuitous packets were sent (5.1.6.5.4). */
  acknowledgeAnnounce(): Promise<void> {
    return this.send(NET_COMMAND.ANNOUNCE_ACK, pack());
  }

  /** Receive and transmit queues to use; the device chooses receive queues. */
  setPairs(pairs: number): Promise<void> {
    return this.send(NET_COMMAND.MQ_VQ_PAIRS_SET, pack([2, pairs]));
  }

  setRss({ hashTypes, table, unclassified, pairs, key }: RssSettings): Promise<void> {
    const entries = table.map((queue) => [2, queue] as const);
    const head = [[4, hashTypes] as const, [2, table.length - 1] as const, [2, unclassified] as const];
    return this.send(NET_COMMAND.MQ_RSS_CONFIG, pack(...head, ...entries, [2, pairs], [1, key.length], key));
  }

  setHash(hashTypes: number, key: Uint8Array): Promise<void> {
    return this.send(NET_COMMAND.MQ_HASH_CONFIG, pack([4, hashTypes], [4, 0], [4, 0], [1, key.length], key));
  }

  /** Bits of VIRTIO_NET_F_GUEST_… that are on from now on. */
  setOffloads(mask: bigint): Promise<void> {
    const words = [[4, Number(mask & 0xffff_ffffn)] as const, [4, Number((mask >> 32n) & 0xffff_ffffn)] as const];
    return this.send(NET_COMMAND.GUEST_OFFLOADS_SET, pack(...words));
  }

  /** Sends any command: `command` is class * 256 + command, as in NET_COMMAND. */
  send(command: number, data: Uint8Array): Promise<void> {
    const at = 2 + data.length;
    if (at > ANSWER) {
      const text = `control queue: a command of ${at} bytes, at most ${ANSWER}`;
      return Promise.reject(new RingwayError('BAD_ARGUMENT', text));
    }
    const slot = this.#free.pop();
    if (slot === undefined) return Promise.reject(busy());
    const address = this.#slots + slot * SLOT_BYTES;
    const { u8 } = this.#arena;
    u8.set([command >>> 8, command & 255], address);
    u8.set(data, address + 2);
    u8[address + ANSWER] = UNANSWERED;
    this.#list.clear();
    const header = { address, length: 2 };
    const body = data.length === 0 ? [] : [{ address: address + 2, length: data.length }];
    this.#list.push([header, ...body], [{ address: address + ANSWER, length: 1 }]);
    if (this.#queue.add(this.#list, 1) === 0) {
      this.#free.push(slot);
      return Promise.reject(this.#queue.broken() === 0 ? busy() : this.#brokenError());
    }
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.#list.id(0), { command, slot, resolve, reject });
      if (this.#queue.needsNotify()) this.#notify();
    });
  }

  /** Takes the answers that are there. Returns how many. */
  poll(): number {
    const n = this.#queue.poll(this.#records, SLOTS);
    for (let i = 0; i < n; i++) {
      const id = this.#arena.u32[(this.#records + (i << USED_SHIFT)) >>> 2] ?? 0;
      const waiting = this.#waiting.get(id);
      if (waiting === undefined) continue;
      this.#waiting.delete(id);
      this.#free.push(waiting.slot);
      const answer = this.#arena.u8[this.#slots + waiting.slot * SLOT_BYTES + ANSWER];
      if (answer === 0) waiting.resolve();
      else waiting.reject(new RingwayError('UNSUPPORTED', `${nameOf(waiting.command)}: the device answers ${answer}`));
    }
    if (this.#queue.broken() !== 0) this.cancel(this.#brokenError());
    return n;
  }

  /** Rejects what is not answered: the device was reset, or the queue was. */
  cancel(reason: RingwayError): void {
    for (const { slot, reject } of this.#waiting.values()) {
      this.#free.push(slot);
      reject(reason);
    }
    this.#waiting.clear();
  }

  #brokenError(): RingwayError {
    return new RingwayError('SYSTEM', `control queue: broken by the device, rule ${this.#queue.broken()}`);
  }
}

const busy = (): RingwayError =>
  new RingwayError('BUSY', `control queue: ${SLOTS} commands or a full queue wait for answers; poll first`);

function nameOf(command: number): string {
  const name = Object.entries(NET_COMMAND).find(([, value]) => value === command)?.[0];
  return `control queue: ${name ?? `class ${command >>> 8} command ${command & 255}`}`;
}
