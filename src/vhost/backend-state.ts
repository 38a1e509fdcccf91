import type { Arena } from '../memory/arena.ts';
import { requireSockets, requireSys } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { featureMask, featureNames, hasFeature, VIRTIO_F } from '../virtio/features.ts';
import { createDirtyLog, type DirtyLog } from '../virtio/log.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import type { Channel } from './channel.ts';
import type { VhostDevice } from './device.ts';
import { InflightArea } from './inflight-area.ts';
import {
  PROTOCOL_F,
  protocolFeatureNames,
  type SharedArea,
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  type VringAddresses,
} from './protocol.ts';
import { VhostRing } from './ring.ts';
import { GuestWindows, type Window } from './windows.ts';

const OWN_PROTOCOL_FEATURES = featureMask(
  PROTOCOL_F.REPLY_ACK,
  PROTOCOL_F.BACKEND_REQ,
  PROTOCOL_F.CONFIG,
  PROTOCOL_F.RESET_DEVICE,
  PROTOCOL_F.CONFIGURE_MEM_SLOTS,
  PROTOCOL_F.STATUS,
  PROTOCOL_F.LOG_SHMFD,
  PROTOCOL_F.INFLIGHT_SHMFD,
);
const LOG_ALL = featureMask(VHOST_F_LOG_ALL);

/** What the messages of one frontend have set up: features, memory, rings. */
export class BackendState {
  readonly name: string;
  readonly device: VhostDevice;
  readonly windows: GuestWindows;
  readonly rings: readonly VhostRing[];
  /** Virtio's status, as the frontend last said it. */
  status = 0;
  /** The channel on which we ask; undefined while the frontend has given none. */
  requests: Channel | undefined;
  readonly inflight: InflightArea;
  readonly #arena: Arena;
  readonly #closeFd: (fd: number) => void;
  readonly #log: DirtyLog;
  #logWindow: Window | undefined;
  #features = 0n;
  #protocol = 0n;
  /** The rings that run are not those that the device knows. */
  #changed = false;
  /** Descriptors to be closed once the device does not use them any more. */
  #retired: number[] = [];
  /** Rings whose driver was told that it broke them. */
  readonly #told = new Set<number>();

  /** @throws RingwayError `ARENA_FULL`. */
  constructor(arena: Arena, name: string, device: VhostDevice) {
    this.name = name;
    this.device = device;
    this.windows = new GuestWindows(arena, name);
    this.rings = Array.from({ length: device.rings }, (_, index) => new VhostRing(arena, name, index));
    this.inflight = new InflightArea(this.windows, name, device.rings, device.queueSize);
    this.#arena = arena;
    this.#log = createDirtyLog(arena, `${name} log`);
    this.#closeFd = requireSys(name).closeFd;
  }

  /** Of the rings, as it was negotiated. */
  get layout(): VirtqueueLayout {
    return hasFeature(this.#features, VIRTIO_F.RING_PACKED) ? 'packed' : 'split';
  }

  /** Always the same, since a driver keeps what it was told when another backend takes over. */
  get offered(): bigint {
    return this.device.features | featureMask(VHOST_USER_F_PROTOCOL_FEATURES, VHOST_F_LOG_ALL);
  }

  get offeredProtocol(): bigint {
    return OWN_PROTOCOL_FEATURES | this.device.protocolFeatures;
  }

  /** True when the protocol feature was negotiated. */
  has(bit: number): boolean {
    return hasFeature(this.#protocol, bit);
  }

  refuse(what: string): RingwayError {
    return new RingwayError('BAD_ARGUMENT', `${this.name}: ${what}`);
  }

  setFeatures(features: bigint): void {
    const foreign = features & ~this.offered;
    if (foreign !== 0n) throw this.refuse(`not offered: ${featureNames(foreign, this.device.featureNames).join(', ')}`);
    const why = this.device.validate?.(features);
    if (why !== undefined) throw this.refuse(why);
    // A migration turns the log on and off while rings run; a ring of another layout is another ring.
    const isRunning = this.rings.some(({ started }) => started);
    if (isRunning && (features ^ this.#features) & ~LOG_ALL) throw this.refuse('rings run; GET_VRING_BASE stops them');
    this.#features = features;
    // Without the bit there is no SET_VRING_ENABLE.
    if (!hasFeature(features, VHOST_USER_F_PROTOCOL_FEATURES)) for (const ring of this.rings) ring.enabled = true;
    for (const ring of this.rings) this.#setLog(ring);
    this.#changed ||= isRunning;
  }

  /** Marks what a ring's device writes, or does not, as was negotiated. */
  #setLog({ queue }: VhostRing): void {
    const isLogged = hasFeature(this.#features, VHOST_F_LOG_ALL) && this.#logWindow !== undefined;
    queue?.setLog(isLogged ? this.#log.address : undefined);
  }

  /**
   * Marks pages that are written in this file from now on, while LOG_ALL is negotiated.
   * @throws RingwayError when it cannot be mapped.
   */
  async setLogFile(fd: number, area: SharedArea): Promise<void> {
    await this.changeMemory(() => {
      const window = this.windows.map(fd, area, 'the dirty log');
      this.#closeLog();
      this.#logWindow = window;
      this.#log.set({ address: window.address, length: Number(area.bytes) });
    });
  }

  #closeLog(): void {
    if (this.#logWindow !== undefined) this.windows.unmap(this.#logWindow);
    this.#logWindow = undefined;
  }

  setProtocolFeatures(features: bigint): void {
    const foreign = features & ~this.offeredProtocol;
    if (foreign !== 0n) throw this.refuse(`not offered: ${protocolFeatureNames(foreign).join(', ')}`);
    this.#protocol = features;
  }

  start(ring: VhostRing): void {
    this.#told.delete(ring.index);
    ring.start(this.windows, this.#features, this.inflight.regionOf(ring.index, this.layout));
    this.#setLog(ring);
    ring.started = true;
    this.#changed = true;
  }

  /** Stops a ring: nobody serves it any more, and its base is where the next one goes on. */
  async stop(ring: VhostRing): Promise<void> {
    if (!ring.started) return;
    ring.started = false;
    this.#changed = true;
    await this.settle();
    ring.stop();
  }

  /** QEMU sends the addresses of a ring that runs again when the log goes on or off. */
  async setAddresses(ring: VhostRing, addresses: VringAddresses): Promise<void> {
    const wasStarted = ring.started;
    await this.stop(ring);
    ring.addresses = addresses;
    if (wasStarted) this.start(ring);
  }

  /** Has `change` run while no ring does: those that did go on behind it, but for those whose memory went. */
  async changeMemory(change: () => void): Promise<void> {
    const running = this.rings.filter(({ started }) => started);
    for (const ring of running) ring.started = false;
    this.#changed ||= running.length > 0;
    await this.settle();
    for (const ring of running) ring.stop();
    try {
      change();
    } finally {
      for (const ring of running) this.#startIfPossible(ring);
    }
  }

  #startIfPossible(ring: VhostRing): void {
    try {
      this.start(ring);
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
    }
  }

  /** Another eventfd, or -1, for one of a ring's three. */
  setFd(ring: VhostRing, kind: 'kick' | 'call' | 'error', fd: number): void {
    if (ring[kind] !== -1) this.#retired.push(ring[kind]);
    ring[kind] = fd;
    this.#changed ||= ring.started;
  }

  enable(ring: VhostRing, enabled: boolean): void {
    ring.enabled = enabled;
    this.#changed ||= ring.started;
  }

  async reset(): Promise<void> {
    for (const ring of this.rings) {
      await this.stop(ring);
      ring.enabled = false;
      ring.base = 0;
    }
    this.status = 0;
  }

  /** Tells the device what runs now, and closes what it used before. */
  async settle(): Promise<void> {
    if (this.#changed) {
      this.#changed = false;
      const rings = this.rings.map(({ started, queue, size, kick, call, enabled }) =>
        started && queue !== undefined ? { queue, size, kick, call, enabled } : undefined,
      );
      await this.device.apply({ features: this.#features, rings });
    }
    for (const fd of this.#retired.splice(0)) this.#closeFd(fd);
  }

  /**
   * Looks for what nobody tells: rings that are broken, whose driver is told, and memory that is gone.
   * @throws RingwayError when the connection cannot go on.
   */
  check(): void {
    if (this.windows.isTruncated) throw this.refuse('the frontend truncated memory that it shares');
    for (const { queue, error, index } of this.rings) {
      if (queue === undefined || queue.broken() === 0 || this.#told.has(index)) continue;
      if (error !== -1) requireSockets(this.name).signal(error);
      this.#told.add(index);
    }
  }

  /** Stops all rings and gives everything back. */
  async close(): Promise<void> {
    for (const ring of this.rings) ring.started = false;
    this.#changed = true;
    try {
      await this.settle();
    } finally {
      this.abandon();
    }
  }

  /** As `close`, when no thread uses the rings any more. */
  abandon(): void {
    for (const ring of this.rings) {
      ring.stop();
      for (const kind of ['kick', 'call', 'error'] as const) this.setFd(ring, kind, -1);
    }
    for (const fd of this.#retired.splice(0)) this.#closeFd(fd);
    this.inflight.close();
    this.#closeLog();
    this.#arena.release(`${this.name} log`);
    this.windows.close();
    this.requests?.close();
  }
}
