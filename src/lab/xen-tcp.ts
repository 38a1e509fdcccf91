import { TcpSink } from '../guest/tcp-sink.ts';
import { BUFFER_HEADROOM, BURST_MAX, SLOT_LENGTH, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { TCP_ACK, TCP_BYTES, TCP_SYN, TcpView } from '../packet/transport.ts';
import { endsOf, type Way } from './xen-turns.ts';
import { copyCounter, VirtualXen, type XenOperations } from './xen-virtual.ts';
import type { XenLane, XenWorld } from './xen-world.ts';

/** Where TCP begins behind Ethernet and IPv4, and bytes of a segment of a full frame. */
const TCP_AT = 34;
export const SEGMENT = 1460;
/** Segments of a connection that may be under way: a window of 65,535 bytes, as the sink has it. */
const WINDOW = 44;
/** At the start (RFC 6928). */
const WINDOW_FIRST = 10;
/** Equal acknowledgments that stand for a loss (RFC 5681, 3.2). */
const DUPLICATES = 3;
/** How long an answer is waited for, in ns: short, since both ends are on one machine. */
export const TIMEOUT_NS = 1_000_000;
/** Connections: together they may have more under way than a ring has slots. */
const CONNECTIONS = 16;
/** The sink tells connections apart by ports alone. */
const ADDRESSES = new Uint8Array(8);

/** Signed distance of sequence numbers, modulo 2^32. */
const ahead = (a: number, b: number): number => (a - b) | 0;

/** The sending end of one connection, which sends for ever: slow start, congestion avoidance, and all from the loss on again, since the sink keeps no more. */
export class Connection {
  readonly port: number;
  /** Sequence numbers: the oldest that is not acknowledged, the next, the first that was never sent, and where a loss ends. */
  #oldest = 0;
  #next = 0;
  #fresh = 0;
  #recovered = 0;
  #window = WINDOW_FIRST;
  #threshold = WINDOW;
  #duplicates = 0;
  #deadline = 0;
  #peer = 0;
  #isOpen = false;

  constructor(port: number) {
    this.port = port;
  }

  /** An acknowledgment came. */
  answered(tcp: TcpView, now: number): void {
    const { acknowledgment } = tcp;
    if (tcp.flags & TCP_SYN && !this.#isOpen) {
      this.#isOpen = true;
      this.#peer = (tcp.sequence + 1) >>> 0;
      this.#oldest = this.#next = this.#fresh = this.#recovered = acknowledgment;
      return;
    }
    const more = ahead(acknowledgment, this.#oldest);
    if (more <= 0) {
      if (more < 0 || ahead(this.#oldest, this.#recovered) < 0 || ++this.#duplicates !== DUPLICATES) return;
      this.#threshold = Math.max(2, ahead(this.#next, this.#oldest) / SEGMENT / 2);
      this.#back();
      return;
    }
    this.#oldest = acknowledgment;
    if (ahead(this.#next, acknowledgment) < 0) this.#next = acknowledgment;
    this.#duplicates = 0;
    this.#deadline = now + TIMEOUT_NS;
    const segments = more / SEGMENT;
    this.#window += this.#window < this.#threshold ? segments : segments / this.#window;
    this.#window = Math.min(this.#window, WINDOW);
  }

  /** All that is not acknowledged is sent once more, at the pace of its answers: half a window at once would meet the same full ring. */
  #back(): void {
    this.#window = 1;
    this.#next = this.#oldest;
    this.#recovered = this.#fresh;
    this.#duplicates = 0;
  }

  /** Whether there is something to send at `now`. */
  canSend(now: number): boolean {
    if (!this.#isOpen) return now >= this.#deadline;
    if (this.#oldest !== this.#fresh && now > this.#deadline) {
      this.#threshold = Math.max(2, this.#window / 2);
      this.#back();
      this.#deadline = now + TIMEOUT_NS;
    }
    return ahead(this.#next, this.#oldest) + SEGMENT <= Math.floor(this.#window) * SEGMENT;
  }

  /** Writes the next segment's header at `at`. Returns its payload's bytes, and whether they were sent before. */
  write(u8: Uint8Array, at: number, now: number): { readonly payload: number; readonly again: boolean } {
    if (this.#oldest === this.#fresh) this.#deadline = now + TIMEOUT_NS;
    const payload = this.#isOpen ? SEGMENT : 0;
    u8.fill(0, at, at + TCP_BYTES);
    const tcp = TcpView.create(u8, at, TCP_BYTES, payload);
    tcp.sourcePort = this.port;
    tcp.destinationPort = 5001;
    tcp.sequence = this.#next;
    tcp.acknowledgment = this.#peer;
    tcp.flags = this.#isOpen ? TCP_ACK : TCP_SYN;
    const again = ahead(this.#next, this.#fresh) < 0;
    this.#next = (this.#next + payload) >>> 0;
    if (ahead(this.#next, this.#fresh) > 0) this.#fresh = this.#next;
    return { payload, again };
  }
}

/** Bulk transfers through a queue: payload that arrived, segments that were sent, and those that were sent again. */
export interface TcpBulk {
  readonly received: number;
  readonly segments: number;
  readonly again: number;
  /** Runs for `ms`. Returns virtual ns for each byte of payload that arrived in order. */
  window(ms: number): { ns: number };
}

/**
 * Bulk transfers over TCP through the first queue of a world, in virtual time: 16 connections from one core to the sink of the guest's
 * stack on another. What the ring has no room for is lost, as a switch drops it, and is sent again.
 */
export function startTcp(world: XenWorld, way: Way): TcpBulk {
  const { arena } = world;
  const { u8, u16, u32 } = arena;
  const { poolAlloc } = arena.kernels<PoolKernels>();
  const [lane] = world.lanes as [XenLane];
  const [from, to] = endsOf(lane, way);
  const connections = Array.from({ length: CONNECTIONS }, (_, i) => new Connection(1024 + i));
  const sink = new TcpSink(1);
  const copies = copyCounter(world, lane);
  const at = (slot: number): number => (u32[slot >>> 2] as number) + BUFFER_HEADROOM + TCP_AT;
  const lengthWord = (slot: number): number => (slot + SLOT_LENGTH) >>> 1;
  let [segments, again, turn, clock] = [0, 0, 0, 0];

  /** What the backend takes is copied from the guest, what it gives to it. */
  const counted = (operations: XenOperations, copied: Way, work: () => number): number => {
    const before = copies();
    const n = work();
    operations[copied] += (copies() - before) >>> 0;
    return n;
  };

  const hear = (burst: number, n: number): void => {
    for (let i = 0; i < n; i++) {
      const slot = burst + (i << SLOT_SHIFT);
      const tcp = TcpView.parse(u8, at(slot), (u16[lengthWord(slot)] as number) - TCP_AT);
      if (tcp !== undefined) connections[tcp.destinationPort - 1024]?.answered(tcp, clock);
    }
    from.free(burst, n);
  };

  const send = (): number => {
    const { burst, cache } = from;
    const room = poolAlloc(cache, burst, BURST_MAX);
    let n = 0;
    for (let idle = 0; n < room && idle < CONNECTIONS; ) {
      const connection = connections[turn] as Connection;
      turn = (turn + 1) % CONNECTIONS;
      if (!connection.canSend(clock)) {
        idle++;
        continue;
      }
      idle = 0;
      const slot = burst + (n++ << SLOT_SHIFT);
      const written = connection.write(u8, at(slot), clock);
      u16[lengthWord(slot)] = TCP_AT + TCP_BYTES + written.payload;
      segments++;
      if (written.again) again++;
    }
    if (n < room) from.free(burst + (n << SLOT_SHIFT), room - n);
    from.sendBurst(n);
    return n;
  };

  /** Answers stand in the place of what they answer; what has none is freed. */
  const answer = (burst: number, n: number): number => {
    let answers = 0;
    for (let i = 0; i < n; i++) {
      const slot = burst + (i << SLOT_SHIFT);
      const tcp = TcpView.parse(u8, at(slot), (u16[lengthWord(slot)] as number) - TCP_AT);
      const bytes = tcp === undefined ? -1 : sink.handle(tcp, ADDRESSES);
      if (bytes < 0) continue;
      u16[lengthWord(slot)] = TCP_AT + bytes;
      const target = (burst + (answers++ << SLOT_SHIFT)) >>> 2;
      for (let word = 0; word < 4; word++) {
        const kept = u32[target + word] as number;
        u32[target + word] = u32[(slot >>> 2) + word] as number;
        u32[(slot >>> 2) + word] = kept;
      }
    }
    if (answers < n) to.free(burst + (answers << SLOT_SHIFT), n - answers);
    return answers;
  };

  const [taken, given] = way === 'tx' ? (['tx', 'rx'] as const) : (['rx', 'tx'] as const);
  const xen = new VirtualXen(world, [
    {
      peer: 1,
      run(now, operations) {
        clock = now;
        const heard = counted(operations, given, () => from.receive(hear));
        return heard + counted(operations, taken, send);
      },
    },
    {
      peer: 0,
      run(_, operations) {
        let answers = 0;
        const n = counted(operations, taken, () =>
          to.receive((burst, count) => {
            answers = answer(burst, count);
          }),
        );
        counted(operations, given, () => to.sendBurst(answers));
        return n;
      },
    },
  ]);
  // What was lost while connections were opened does not count.
  segments = again = 0;
  return {
    get received() {
      return sink.received;
    },
    get segments() {
      return segments;
    },
    get again() {
      return again;
    },
    window(ms) {
      const end = performance.now() + ms;
      const [since, before] = [xen.now, sink.received];
      while (performance.now() < end) for (let i = 0; i < BURST_MAX; i++) xen.step();
      return { ns: (xen.now - since) / (sink.received - before) };
    },
  };
}
