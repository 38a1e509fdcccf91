import type { Arena } from '../../memory/arena.ts';
import { requireSys } from '../../sys/index.ts';
import { requireSockets } from '../../sys/sockets.ts';
import { VIRTIO_F } from '../../virtio/features.ts';
import { VIRTIO_NET_F } from '../../virtio/net-features.ts';
import type { VirtqueueLayout } from '../../virtio/rings.ts';
import { MEM_TABLE, PROTOCOL_F, REQUEST, U64, VRING_ADDR, VRING_F_LOG, VRING_NO_FD, VRING_STATE } from '../protocol.ts';
import { CheckFailed, type DeviceType, pause } from './check.ts';
import { Frontend } from './frontend.ts';
import { GuestRing } from './guest-ring.ts';
import { GuestMemory } from './memory.ts';

const RING_SIZE = 64;
/** ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK (virtio 2.1): some backends serve no ring before. */
const RUNNING = 0xfn;

export interface SessionOptions {
  readonly layout?: VirtqueueLayout;
  readonly eventIdx?: boolean;
  /** Descriptors of each ring. */
  readonly size?: number;
  /** Queue pairs of a network device: two rings each. */
  readonly pairs?: number;
  /** More feature bits to agree on. */
  readonly features?: readonly number[];
  /** Protocol features to agree on; all, left out. */
  readonly protocol?: readonly number[];
  /** The rings' memory is said elsewhere. */
  readonly withoutMemory?: boolean;
}

export interface StartOptions {
  readonly base?: number;
  /** Left disabled. */
  readonly disabled?: boolean;
  /** Without an eventfd for these. */
  readonly withoutKick?: boolean;
  readonly withoutCall?: boolean;
  /** Writes to the used ring are marked in the dirty log. */
  readonly logged?: boolean;
}

/** A connection whose features are agreed on, and rings for it that no backend knows yet. */
export class Session {
  readonly frontend: Frontend;
  readonly memory: GuestMemory;
  readonly rings: readonly GuestRing[];
  readonly layout: VirtqueueLayout;

  constructor(frontend: Frontend, memory: GuestMemory, rings: readonly GuestRing[], layout: VirtqueueLayout) {
    this.frontend = frontend;
    this.memory = memory;
    this.rings = rings;
    this.layout = layout;
  }

  /** The ring that probes go through: the first that a driver sends requests or frames by. */
  get ring(): GuestRing {
    return this.rings[this.rings.length > 1 ? 1 : 0] as GuestRing;
  }

  /** The ring that a network device receives by. */
  get receive(): GuestRing {
    return this.rings[0] as GuestRing;
  }

  /** Where a ring starts of which nothing was used. */
  get firstBase(): number {
    return this.layout === 'packed' ? 0x8000_8000 : 0;
  }

  async shareMemory(): Promise<void> {
    const { region, fd } = this.memory;
    await this.frontend.tell(REQUEST.SET_MEM_TABLE, MEM_TABLE.write([region]), [fd]);
  }

  /** The payload of SET_VRING_ADDR. */
  addresses(ring: GuestRing, logged = false): Uint8Array {
    const { index, driver } = ring;
    const { descriptors, driverArea, deviceArea } = driver.rings;
    return VRING_ADDR.write({
      index,
      flags: logged ? VRING_F_LOG : 0,
      descriptors: this.memory.user(descriptors),
      available: this.memory.user(driverArea),
      used: this.memory.user(deviceArea),
      log: logged ? this.memory.guest(deviceArea) : 0n,
    });
  }

  /** Starts a ring, as QEMU does. */
  async start(ring: GuestRing, options: StartOptions = {}): Promise<void> {
    const {
      base = this.firstBase,
      disabled = false,
      withoutKick = false,
      withoutCall = false,
      logged = false,
    } = options;
    const { frontend } = this;
    const { index, size, kick, call } = ring;
    const fd = async (request: number, without: boolean, eventfd: number): Promise<void> => {
      await frontend.tell(request, U64.write(BigInt(index | (without ? VRING_NO_FD : 0))), without ? [] : [eventfd]);
    };
    await frontend.tell(REQUEST.SET_VRING_NUM, VRING_STATE.write(index, size));
    await frontend.tell(REQUEST.SET_VRING_BASE, VRING_STATE.write(index, base));
    await frontend.tell(REQUEST.SET_VRING_ADDR, this.addresses(ring, logged));
    await fd(REQUEST.SET_VRING_KICK, withoutKick, kick);
    await fd(REQUEST.SET_VRING_CALL, withoutCall, call);
    if (!disabled) await this.enable(ring, true);
    // A ring starts with its first kick.
    if (!withoutKick) requireSockets('a conformance check').signal(kick);
  }

  /**
   * Starts all rings, and has the device run.
   * @param base where the ring of `ring` goes on; the others start.
   */
  async startAll({ base, ...options }: StartOptions = {}): Promise<void> {
    for (const ring of this.rings) {
      await this.start(ring, { ...options, ...(base === undefined || ring !== this.ring ? {} : { base }) });
    }
    if (this.frontend.has(PROTOCOL_F.STATUS)) await this.frontend.tell(REQUEST.SET_STATUS, U64.write(RUNNING));
  }

  async enable({ index }: GuestRing, on: boolean): Promise<void> {
    await this.frontend.tell(REQUEST.SET_VRING_ENABLE, VRING_STATE.write(index, on ? 1 : 0));
  }

  /** Stops a ring. Returns the base that the backend says. */
  async stop({ index }: GuestRing): Promise<number> {
    const reply = await this.frontend.ask(REQUEST.GET_VRING_BASE, VRING_STATE.write(index, 0), {
      bytes: VRING_STATE.bytes,
    });
    const state = VRING_STATE.read(reply.payload);
    if (state.index !== index) throw new CheckFailed(`the base of queue ${index}`, `that of queue ${state.index}`);
    return state.value;
  }
}

/** What one check works with. All of it ends with the check. */
export class Bench {
  readonly type: DeviceType;
  readonly #socket: string;
  readonly #arena: Arena;
  readonly #answerMs: number;
  readonly #open: { close(): void }[] = [];
  #memory: GuestMemory | undefined;
  /** Rings made so far. */
  #rings = 0;

  constructor(socket: string, type: DeviceType, arena: Arena, answerMs: number) {
    this.#socket = socket;
    this.type = type;
    this.#arena = arena;
    this.#answerMs = answerMs;
  }

  /** Memory of the driver, the same in all of the check. */
  get memory(): GuestMemory {
    if (this.#memory === undefined) {
      this.#memory = new GuestMemory(this.#arena);
      this.#open.unshift(this.#memory);
    }
    return this.#memory;
  }

  /** A new connection. */
  async connect(): Promise<Frontend> {
    const since = performance.now();
    const sockets = requireSockets('a conformance check');
    while (true) {
      const fd = sockets.connect(this.#socket);
      if (fd !== undefined) return this.own(new Frontend(fd, this.#answerMs, (received) => this.#ownFd(received)));
      if (performance.now() - since > this.#answerMs) {
        throw new CheckFailed('a backend that takes connections', `nobody listens at ${this.#socket}`);
      }
      await pause(since);
    }
  }

  /** Closes something when the check ends. */
  own<T extends { close(): void }>(thing: T): T {
    this.#open.push(thing);
    return thing;
  }

  /** A file of zeroes. */
  file(bytes: number): number {
    const sys = requireSys('a conformance check');
    const fd = sys.memfdCreate('ringway-check', bytes, { seal: true });
    return this.#ownFd(fd);
  }

  eventfd(): number {
    return this.#ownFd(requireSockets('a conformance check').eventfd());
  }

  #ownFd(fd: number): number {
    this.own({ close: () => requireSys('a conformance check').closeFd(fd) });
    return fd;
  }

  /** Memory of ours over a file, for as long as the check lasts. */
  map(name: string, fd: number, bytes: number): number {
    const sys = requireSys('a conformance check');
    const { memory } = this.#arena.handle;
    const address = this.#arena.reserve(name, bytes, sys.pageBytes);
    sys.mapFile(memory, address, bytes, fd, 0);
    this.own({
      close: () => {
        sys.unmap(memory, address, bytes);
        this.#arena.release(name);
      },
    });
    return address;
  }

  /** All that lies in the arena. */
  get bytes(): Uint8Array {
    return this.#arena.u8;
  }

  /** A connection, and rings for it. `rings`: those of another session, whose connection ended. */
  async open(options: SessionOptions = {}, rings?: readonly GuestRing[]): Promise<Session> {
    const {
      layout = 'split',
      eventIdx = false,
      size = RING_SIZE,
      pairs = 1,
      features = [],
      protocol,
      withoutMemory,
    } = options;
    const frontend = await this.connect();
    await frontend.greet(protocol);
    await frontend.accept([
      ...(layout === 'packed' ? [VIRTIO_F.RING_PACKED] : []),
      ...(eventIdx ? [VIRTIO_F.RING_EVENT_IDX] : []),
      ...(this.type === 'net' ? [VIRTIO_NET_F.MRG_RXBUF] : []),
      ...(pairs > 1 ? [VIRTIO_NET_F.MQ] : []),
      ...features,
    ]);
    const { memory, type } = this;
    const count = type === 'net' ? 2 * pairs : 1;
    const made = Array.from({ length: rings === undefined ? count : 0 }, (_, index) =>
      this.own(new GuestRing(memory, index, { name: `ring ${this.#rings++}`, layout, size, eventIdx, type })),
    );
    const session = new Session(frontend, memory, rings ?? made, layout);
    if (withoutMemory !== true) await session.shareMemory();
    return session;
  }

  /** As `open`, with all rings running. */
  async run(options: SessionOptions = {}, start: StartOptions = {}): Promise<Session> {
    const session = await this.open(options);
    await session.startAll(start);
    return session;
  }

  close(): void {
    for (const thing of this.#open.splice(0).reverse()) thing.close();
  }
}
