import type { Arena } from '../memory/arena.ts';
import { requireSys } from '../sys/index.ts';
import { requireSockets } from '../sys/sockets.ts';
import { RingwayError } from '../util/errors.ts';
import { featureMask, featureNames, hasFeature } from '../virtio/features.ts';
import { VIRTIO_REGIONS_MAX } from '../virtio/layout.ts';
import { Channel, type Message } from './channel.ts';
import type { VhostDevice } from './device.ts';
import {
  BACKEND_REQUEST,
  CONFIG,
  FLAG_NEED_REPLY,
  MEM_TABLE,
  PROTOCOL_F,
  protocolFeatureNames,
  REQUEST,
  requestName,
  SINGLE_REGION,
  U64,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VRING_ADDR,
  VRING_INDEX_MASK,
  VRING_NO_FD,
  VRING_STATE,
} from './protocol.ts';
import { VhostRing } from './ring.ts';
import { GuestWindows } from './windows.ts';

/** Messages that one turn takes: a client that floods keeps the control thread from nothing else. */
const MESSAGES_PER_TURN = 64;
/** Virtio 1.1, 2.1: the bits of a status. */
const STATUS_MAX = 0xff;

const OWN_PROTOCOL_FEATURES = featureMask(
  PROTOCOL_F.REPLY_ACK,
  PROTOCOL_F.BACKEND_REQ,
  PROTOCOL_F.CONFIG,
  PROTOCOL_F.RESET_DEVICE,
  PROTOCOL_F.CONFIGURE_MEM_SLOTS,
  PROTOCOL_F.STATUS,
);

/** What a handler did: what is answered, if anything. */
type Answer = Uint8Array | undefined;

/** The device's side of one vhost-user connection: messages in order, one at a time. */
export class Backend {
  readonly #name: string;
  readonly #device: VhostDevice;
  readonly #channel: Channel;
  readonly #windows: GuestWindows;
  readonly #rings: readonly VhostRing[];
  readonly #closeFd: (fd: number) => void;
  #features = 0n;
  #protocol = 0n;
  #status = 0;
  #requests: Channel | undefined;
  /** The rings that run are not those that the device knows. */
  #changed = false;
  /** Descriptors to be closed once the device does not use them any more. */
  #retired: number[] = [];
  /** Rings whose driver was told that it broke them. */
  readonly #told = new Set<number>();

  /** @throws RingwayError `ARENA_FULL`. */
  constructor(arena: Arena, name: string, device: VhostDevice, fd: number) {
    this.#name = name;
    this.#device = device;
    this.#channel = new Channel(fd, name);
    this.#windows = new GuestWindows(arena, name);
    this.#rings = Array.from({ length: device.rings }, (_, index) => new VhostRing(arena, name, index));
    this.#closeFd = requireSys(name).closeFd;
  }

  /** The connection's descriptor. */
  get fd(): number {
    return this.#channel.fd;
  }

  /**
   * Handles the messages that are there, some dozens at most. False when the frontend has closed the connection.
   * @throws RingwayError for a message that breaks the protocol: close the connection then.
   */
  async serve(): Promise<boolean> {
    for (let i = 0; i < MESSAGES_PER_TURN; i++) {
      const message = this.#channel.read();
      if (message === 'closed') return false;
      if (message === 'again') break;
      await this.#take(message);
    }
    await this.#settle();
    return true;
  }

  async #take(message: Message): Promise<void> {
    const fds = new Set(message.fds);
    const needsReply = (message.flags & FLAG_NEED_REPLY) !== 0 && this.#has(PROTOCOL_F.REPLY_ACK);
    let answer: Answer;
    let failure: unknown;
    try {
      answer = await this.#handle(message, (fd) => {
        fds.delete(fd);
        return fd;
      });
      if (needsReply) await this.#settle();
    } catch (error) {
      // A frontend that asked learns that it was refused; of another one nobody knows what it believes.
      if (!needsReply || !(error instanceof RingwayError)) throw error;
      failure = error;
    } finally {
      for (const fd of fds) this.#closeFd(fd);
    }
    const reply = answer ?? (needsReply ? U64.write(failure === undefined ? 0n : 1n) : undefined);
    if (reply !== undefined && !this.#channel.send(message.request, reply, { reply: true })) {
      throw new RingwayError('SYSTEM', `${this.#name}: the frontend does not read its replies`);
    }
  }

  #has(bit: number): boolean {
    return hasFeature(this.#protocol, bit);
  }

  get #offered(): bigint {
    return this.#device.features | featureMask(VHOST_USER_F_PROTOCOL_FEATURES);
  }

  get #offeredProtocol(): bigint {
    return OWN_PROTOCOL_FEATURES | this.#device.protocolFeatures;
  }

  /** @param keep takes a descriptor of the message, which is else closed. */
  async #handle(message: Message, keep: (fd: number) => number): Promise<Answer> {
    const { request, payload, fds } = message;
    switch (request) {
      case REQUEST.GET_FEATURES:
        this.#expect(message, 0);
        return U64.write(this.#offered);
      case REQUEST.SET_FEATURES:
        return this.#setFeatures(U64.read(this.#expect(message, U64.bytes)));
      case REQUEST.GET_PROTOCOL_FEATURES:
        this.#expect(message, 0);
        return U64.write(this.#offeredProtocol);
      case REQUEST.SET_PROTOCOL_FEATURES:
        return this.#setProtocolFeatures(U64.read(this.#expect(message, U64.bytes)));
      case REQUEST.SET_OWNER:
        this.#expect(message, 0);
        return;
      case REQUEST.RESET_OWNER:
      case REQUEST.RESET_DEVICE:
        this.#expect(message, 0);
        await this.#reset();
        return;
      case REQUEST.GET_QUEUE_NUM:
        this.#expect(message, 0);
        return U64.write(BigInt(this.#device.queueNum));
      case REQUEST.SET_MEM_TABLE: {
        const regions = MEM_TABLE.read(payload);
        if (regions === undefined)
          throw this.#bad(message, `size=${payload.length} does not hold its regions, 8 at most`);
        if (regions.length !== fds.length) {
          throw this.#bad(message, `${regions.length} regions and ${fds.length} descriptors`);
        }
        await this.#changeMemory(() => this.#windows.set(regions, fds));
        return;
      }
      case REQUEST.GET_MAX_MEM_SLOTS:
        this.#expect(message, 0);
        return U64.write(BigInt(VIRTIO_REGIONS_MAX));
      case REQUEST.ADD_MEM_REG: {
        const region = SINGLE_REGION.read(this.#expect(message, SINGLE_REGION.bytes, 1));
        await this.#changeMemory(() => this.#windows.add(region, fds[0] ?? -1));
        return;
      }
      case REQUEST.REM_MEM_REG: {
        // Some frontends send the descriptor along: it is closed like any that is not kept.
        if (fds.length > 1) throw this.#bad(message, `${fds.length} descriptors, at most 1`);
        if (payload.length !== SINGLE_REGION.bytes) throw this.#badSize(message, SINGLE_REGION.bytes);
        const region = SINGLE_REGION.read(payload);
        await this.#changeMemory(() => {
          if (!this.#windows.remove(region)) {
            throw this.#bad(message, `no region of ${region.bytes} bytes at 0x${region.guest.toString(16)}`);
          }
        });
        return;
      }
      case REQUEST.SET_VRING_NUM: {
        const { ring, value } = this.#ringState(message);
        this.#expectStopped(message, ring);
        if (value < 1 || value > this.#device.queueSize) {
          throw this.#bad(message, `queue ${ring.index}: num=${value}, must be 1 to ${this.#device.queueSize}`);
        }
        ring.size = value;
        return;
      }
      case REQUEST.SET_VRING_BASE: {
        const { ring, value } = this.#ringState(message);
        this.#expectStopped(message, ring);
        ring.base = value;
        return;
      }
      case REQUEST.SET_VRING_ADDR: {
        const addresses = VRING_ADDR.read(this.#expect(message, VRING_ADDR.bytes));
        const ring = this.#ring(message, addresses.index);
        // QEMU sends it again for a ring that runs, when the log goes on or off.
        if (ring.started) await this.#restart(ring, addresses);
        else ring.addresses = addresses;
        return;
      }
      case REQUEST.GET_VRING_BASE: {
        const { ring } = this.#ringState(message);
        await this.#stop(ring);
        return VRING_STATE.write(ring.index, ring.base);
      }
      case REQUEST.SET_VRING_KICK: {
        const { ring, fd } = this.#ringFd(message);
        if (ring.started) await this.#stop(ring);
        this.#retire(ring.kick);
        ring.kick = fd === -1 ? -1 : keep(fd);
        this.#start(ring);
        return;
      }
      case REQUEST.SET_VRING_CALL: {
        const { ring, fd } = this.#ringFd(message);
        this.#retire(ring.call);
        ring.call = fd === -1 ? -1 : keep(fd);
        this.#changed ||= ring.started;
        return;
      }
      case REQUEST.SET_VRING_ERR: {
        const { ring, fd } = this.#ringFd(message);
        this.#retire(ring.error);
        ring.error = fd === -1 ? -1 : keep(fd);
        return;
      }
      case REQUEST.SET_VRING_ENABLE: {
        const { ring, value } = this.#ringState(message);
        if (value > 1) throw this.#bad(message, `queue ${ring.index}: ${value}, must be 0 or 1`);
        ring.enabled = value === 1;
        this.#changed ||= ring.started;
        return;
      }
      case REQUEST.NET_SET_MTU:
        return this.#setMtu(message);
      case REQUEST.SEND_RARP:
        this.#need(message, PROTOCOL_F.RARP);
        this.#device.sendRarp?.(this.#expect(message, U64.bytes).slice(0, 6));
        return;
      case REQUEST.SET_BACKEND_REQ_FD:
        this.#need(message, PROTOCOL_F.BACKEND_REQ);
        this.#expect(message, payload.length === 8 ? 8 : 0, 1);
        this.#requests?.close();
        this.#requests = new Channel(keep(fds[0] ?? -1), this.#name);
        return;
      case REQUEST.GET_CONFIG:
        return this.#getConfig(message);
      case REQUEST.SET_CONFIG:
        return this.#setConfig(message);
      case REQUEST.SET_STATUS: {
        this.#need(message, PROTOCOL_F.STATUS);
        const status = U64.read(this.#expect(message, U64.bytes));
        if (status > STATUS_MAX) throw this.#bad(message, `status=0x${status.toString(16)}, at most 0xff`);
        this.#status = Number(status);
        return;
      }
      case REQUEST.GET_STATUS:
        this.#need(message, PROTOCOL_F.STATUS);
        this.#expect(message, 0);
        return U64.write(BigInt(this.#status));
      default:
        throw this.#bad(message, 'is not offered');
    }
  }

  #bad({ request }: Message, why: string): RingwayError {
    return new RingwayError('BAD_ARGUMENT', `${this.#name}: ${requestName(request)}: ${why}`);
  }

  #badSize(message: Message, bytes: number): RingwayError {
    return this.#bad(message, `size=${message.payload.length}, must be ${bytes}`);
  }

  /** The payload, when it and the descriptors are as many as they must be. */
  #expect(message: Message, bytes: number, fds = 0): Uint8Array {
    const { payload } = message;
    if (payload.length !== bytes) throw this.#badSize(message, bytes);
    if (message.fds.length !== fds) throw this.#bad(message, `${message.fds.length} descriptors, must be ${fds}`);
    return payload;
  }

  #need(message: Message, bit: number): void {
    if (this.#has(bit)) return;
    throw this.#bad(message, `needs ${protocolFeatureNames(featureMask(bit)).join()}, which was not negotiated`);
  }

  #ring(message: Message, index: number): VhostRing {
    const ring = this.#rings[index];
    if (ring === undefined) throw this.#bad(message, `queue ${index}, there are ${this.#rings.length}`);
    return ring;
  }

  #ringState(message: Message): { ring: VhostRing; value: number } {
    const { index, value } = VRING_STATE.read(this.#expect(message, VRING_STATE.bytes));
    return { ring: this.#ring(message, index), value };
  }

  #expectStopped(message: Message, ring: VhostRing): void {
    if (ring.started) throw this.#bad(message, `queue ${ring.index} runs; GET_VRING_BASE stops it`);
  }

  /** The ring of KICK, CALL or ERR, and the eventfd for it; -1 when the frontend has none. */
  #ringFd(message: Message): { ring: VhostRing; fd: number } {
    const value = U64.read(
      this.#expect(
        message,
        U64.bytes,
        message.payload.length === 8 && U64.read(message.payload) & BigInt(VRING_NO_FD) ? 0 : 1,
      ),
    );
    if (value >> 9n) throw this.#bad(message, `0x${value.toString(16)}, only bits 0 to 8 mean something`);
    const ring = this.#ring(message, Number(value) & VRING_INDEX_MASK);
    const [fd = -1] = message.fds;
    if (fd !== -1 && !requireSockets(this.#name).adoptEventfd(fd)) {
      throw this.#bad(message, `queue ${ring.index}: the descriptor is no eventfd`);
    }
    return { ring, fd };
  }

  #setFeatures(features: bigint): undefined {
    const foreign = features & ~this.#offered;
    const why =
      foreign !== 0n
        ? `not offered: ${featureNames(foreign, this.#device.featureNames).join(', ')}`
        : this.#device.validate(features);
    if (why !== undefined) throw new RingwayError('BAD_ARGUMENT', `${this.#name}: SET_FEATURES: ${why}`);
    this.#features = features;
    this.#changed = true;
    // Without the bit there is no SET_VRING_ENABLE.
    if (!hasFeature(features, VHOST_USER_F_PROTOCOL_FEATURES)) for (const ring of this.#rings) ring.enabled = true;
  }

  #setProtocolFeatures(features: bigint): undefined {
    const foreign = features & ~this.#offeredProtocol;
    if (foreign !== 0n) {
      const names = protocolFeatureNames(foreign).join(', ');
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: SET_PROTOCOL_FEATURES: not offered: ${names}`);
    }
    this.#protocol = features;
  }

  #setMtu(message: Message): undefined {
    this.#need(message, PROTOCOL_F.MTU);
    const mtu = U64.read(this.#expect(message, U64.bytes));
    if (mtu > 65535n || this.#device.setMtu?.(Number(mtu)) !== true) {
      throw this.#bad(message, `mtu=${mtu} is not possible`);
    }
  }

  #getConfig(message: Message): Uint8Array {
    this.#need(message, PROTOCOL_F.CONFIG);
    const wanted = CONFIG.read(message.payload);
    if (wanted === undefined) throw this.#bad(message, 'its size does not match its payload, 256 bytes at most');
    const { offset, flags, data } = wanted;
    // 0 bytes say that there is no such place.
    const found = this.#device.config.read(offset, data.length) ?? new Uint8Array(0);
    return CONFIG.write(offset, flags, found);
  }

  #setConfig(message: Message): undefined {
    this.#need(message, PROTOCOL_F.CONFIG);
    const wanted = CONFIG.read(message.payload);
    if (wanted === undefined) throw this.#bad(message, 'its size does not match its payload, 256 bytes at most');
    const { offset, data } = wanted;
    if (this.#device.config.contains(offset, data.length) && this.#device.writeConfig?.(offset, data) === true) return;
    throw this.#bad(message, `${data.length} bytes at ${offset} may not be written`);
  }

  #start(ring: VhostRing): void {
    this.#told.delete(ring.index);
    ring.start(this.#windows, this.#features);
    ring.started = true;
    this.#changed = true;
  }

  /** Stops a ring: nobody serves it any more, and its base is where the next one goes on. */
  async #stop(ring: VhostRing): Promise<void> {
    if (!ring.started) return;
    ring.started = false;
    this.#changed = true;
    await this.#settle();
    ring.stop();
  }

  async #restart(ring: VhostRing, addresses: VhostRing['addresses']): Promise<void> {
    await this.#stop(ring);
    ring.addresses = addresses;
    this.#start(ring);
  }

  /** Has `change` run while no ring does: those that did go on behind it. */
  async #changeMemory(change: () => void): Promise<void> {
    const running = this.#rings.filter(({ started }) => started);
    for (const ring of running) ring.started = false;
    this.#changed ||= running.length > 0;
    await this.#settle();
    for (const ring of running) ring.stop();
    try {
      change();
    } finally {
      for (const ring of running) this.#startIfPossible(ring);
    }
  }

  /** A ring whose memory went away stays stopped. */
  #startIfPossible(ring: VhostRing): void {
    try {
      this.#start(ring);
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
    }
  }

  async #reset(): Promise<void> {
    for (const ring of this.#rings) {
      await this.#stop(ring);
      ring.enabled = false;
      ring.base = 0;
    }
    this.#status = 0;
  }

  #retire(fd: number): void {
    if (fd !== -1) this.#retired.push(fd);
  }

  /** Tells the device what runs now, and closes what it used before. */
  async #settle(): Promise<void> {
    if (this.#changed) {
      this.#changed = false;
      const rings = this.#rings.map(({ started, queue, size, kick, call, enabled }) =>
        started && queue !== undefined ? { queue, size, kick, call, enabled } : undefined,
      );
      await this.#device.apply({ features: this.#features, rings });
    }
    for (const fd of this.#retired.splice(0)) this.#closeFd(fd);
  }

  /** Tells the frontend that the configuration changed. False when it has no way to hear of it. */
  configChanged(): boolean {
    return this.#requests?.send(BACKEND_REQUEST.CONFIG_CHANGE_MSG, new Uint8Array(0)) ?? false;
  }

  /**
   * Looks for what nobody tells: rings that are broken, whose driver is told, and memory that is gone.
   * @throws RingwayError when the connection cannot go on.
   */
  check(): void {
    if (this.#windows.isTruncated) {
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: the frontend truncated memory that it shares`);
    }
    for (const { queue, error, index } of this.#rings) {
      if (queue === undefined || queue.broken() === 0) continue;
      if (error !== -1 && !this.#told.has(index)) requireSockets(this.#name).signal(error);
      this.#told.add(index);
    }
  }

  /** Ends all of it: rings are stopped, memory is given back, descriptors are closed. */
  async close(): Promise<void> {
    for (const ring of this.#rings) ring.started = false;
    this.#changed = true;
    try {
      await this.#settle();
    } finally {
      this.abandon();
    }
  }

  /** As `close`, when no thread uses the rings any more. */
  abandon(): void {
    for (const ring of this.#rings) {
      ring.stop();
      for (const fd of [ring.kick, ring.call, ring.error]) this.#retire(fd);
    }
    for (const fd of this.#retired.splice(0)) this.#closeFd(fd);
    this.#windows.close();
    this.#requests?.close();
    this.#channel.close();
  }
}
