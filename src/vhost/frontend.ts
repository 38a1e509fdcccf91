import { setTimeout } from 'node:timers/promises';
import type { Arena } from '../memory/arena.ts';
import { type Poller, requireSockets, requireSys } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { brokenRuleText } from '../virtio/broken.ts';
import { featureMask, featureNames, hasFeature, VIRTIO_F, withoutOrphans } from '../virtio/features.ts';
import { readNetInfo } from '../virtio/net-config.ts';
import { NET_FEATURE_NAMES, netDriverFeatures, VIRTIO_NET_F } from '../virtio/net-features.ts';
import { VIRTIO_STATUS } from '../virtio/transport.ts';
import { BackendRequests } from './backend-requests.ts';
import { type DriverRing, DriverRings } from './driver-rings.ts';
import { type NetPair, VHOST_NET_RULES } from './net.ts';
import {
  CONFIG,
  MEM_TABLE,
  PROTOCOL_F,
  REQUEST,
  U64,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VRING_ADDR,
  VRING_STATE,
} from './protocol.ts';
import { Requests } from './requests.ts';
import type { Connection } from './service.ts';

const PROTOCOL_FEATURES = featureMask(
  PROTOCOL_F.MQ,
  PROTOCOL_F.RARP,
  PROTOCOL_F.REPLY_ACK,
  PROTOCOL_F.MTU,
  PROTOCOL_F.BACKEND_REQ,
  PROTOCOL_F.CONFIG,
  PROTOCOL_F.STATUS,
);
/** Bits that are of use only with a feature of the protocol. */
const NEEDS_PROTOCOL: readonly (readonly [feature: number, protocol: number])[] = [
  [VIRTIO_NET_F.MQ, PROTOCOL_F.MQ],
  [VIRTIO_NET_F.MTU, PROTOCOL_F.MTU],
  [VIRTIO_NET_F.STATUS, PROTOCOL_F.CONFIG],
];
const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = VIRTIO_STATUS;
/** Of struct virtio_net_config: address and status. */
const CONFIG_BYTES = 8;
/** How long a backend may take to stop its rings, in milliseconds: what it has not sent by then counts as lost. */
const STOP_MS = 500;

/** What a driver of a network device in another process wants of it. */
export interface FrontendOptions {
  /** Names its regions in the arena, and it in messages. */
  readonly name: string;
  /** Bits of VIRTIO_F and VIRTIO_NET_F for rings and frames. */
  readonly supported: bigint;
  /** Queue pairs at most, and descriptors of each queue. */
  readonly pairs: number;
  readonly queueSize: number;
  readonly mtu: number;
  /** Announced in the backend's network, when given. */
  readonly mac: Uint8Array | undefined;
  /** As `DriverRingsOptions.window`. */
  readonly window: number;
  /** Uses these pairs from now on. Resolves when nobody uses any other any more. */
  readonly serve: (pairs: readonly NetPair[]) => Promise<void>;
  readonly setLink: (up: boolean) => void;
}

/** The driver's side of one vhost-user connection: negotiates, shares memory, and has its rings served. */
export class Frontend implements Connection {
  readonly #arena: Arena;
  readonly #poller: Poller;
  readonly #options: FrontendOptions;
  readonly #requests: Requests;
  readonly #negotiated: Promise<void>;
  #protocol = 0n;
  #rings: DriverRings | undefined;
  /** The lcores know the rings. */
  #served = false;
  #fromBackend: BackendRequests | undefined;
  #unwatchError: () => void = () => {};
  #isLinkStale = false;
  #readsLink = false;
  /** Why the connection cannot go on. */
  #fault: RingwayError | undefined;

  /** @param fd the connection; it is the frontend's from now on. */
  constructor(arena: Arena, poller: Poller, options: FrontendOptions, fd: number) {
    this.#arena = arena;
    this.#poller = poller;
    this.#options = options;
    this.#requests = new Requests(fd, options.name);
    this.#negotiated = this.#try(() => this.#negotiate());
  }

  get fd(): number {
    return this.#requests.fd;
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      this.#fail(error);
    }
  }

  #fail(error: RingwayError): void {
    this.#fault ??= error;
  }

  #has(protocolFeature: number): boolean {
    return hasFeature(this.#protocol, protocolFeature);
  }

  async #negotiate(): Promise<void> {
    const requests = this.#requests;
    const offered = await requests.askNumber(REQUEST.GET_FEATURES);
    if (hasFeature(offered, VHOST_USER_F_PROTOCOL_FEATURES)) {
      this.#protocol = (await requests.askNumber(REQUEST.GET_PROTOCOL_FEATURES)) & PROTOCOL_FEATURES;
      await requests.set(REQUEST.SET_PROTOCOL_FEATURES, { payload: U64.write(this.#protocol) });
      requests.acknowledged = this.#has(PROTOCOL_F.REPLY_ACK);
    }
    const features = this.#choose(offered);
    const pairs = await this.#countPairs(features);
    await this.#listen();
    await requests.set(REQUEST.SET_OWNER);
    await this.#accept(features);
    const rings = this.#makeRings(features, pairs);
    await requests.set(REQUEST.SET_MEM_TABLE, { payload: MEM_TABLE.write([rings.region]), fds: [rings.fd] });
    for (const ring of rings.rings) await this.#start(ring, rings.error);
    if (hasFeature(features, VHOST_USER_F_PROTOCOL_FEATURES)) {
      for (const { index } of rings.rings) {
        await requests.set(REQUEST.SET_VRING_ENABLE, { payload: VRING_STATE.write(index, 1) });
      }
    }
    if (this.#has(PROTOCOL_F.STATUS)) await this.#setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    const { mac, serve } = this.#options;
    if (mac !== undefined && this.#has(PROTOCOL_F.RARP)) {
      await requests.set(REQUEST.SEND_RARP, { payload: Uint8Array.of(...mac, 0, 0) });
    }
    this.#served = true;
    await serve(rings.pairs);
  }

  /** What both can do. */
  #choose(offered: bigint): bigint {
    const { supported, pairs } = this.#options;
    const wanted = NEEDS_PROTOCOL.filter(([, protocol]) => this.#has(protocol)).map(([feature]) => feature);
    const mask = supported | featureMask(VIRTIO_F.VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES, ...wanted);
    const single = pairs === 1 ? featureMask(VIRTIO_NET_F.MQ) : 0n;
    const features = withoutOrphans(netDriverFeatures(offered & mask & ~single), VHOST_NET_RULES);
    if (hasFeature(features, VIRTIO_F.VERSION_1)) return features;
    const names = featureNames(offered, NET_FEATURE_NAMES).join(', ') || 'nothing';
    throw this.#requests.refuse(`offers no VIRTIO_F_VERSION_1; it offers ${names}`);
  }

  async #countPairs(features: bigint): Promise<number> {
    if (!hasFeature(features, VIRTIO_NET_F.MQ)) return 1;
    const there = await this.#requests.askNumber(REQUEST.GET_QUEUE_NUM);
    if (there < 1n) throw this.#requests.refuse('has no queue pair');
    const { pairs } = this.#options;
    return there < BigInt(pairs) ? Number(there) : pairs;
  }

  /** Gives the backend a way to say that its configuration changed. */
  async #listen(): Promise<void> {
    if (!this.#has(PROTOCOL_F.BACKEND_REQ) || !this.#has(PROTOCOL_F.CONFIG)) return;
    this.#requests.checkOpen();
    const { name } = this.#options;
    const [ours, theirs] = requireSockets(name).pair();
    this.#fromBackend = new BackendRequests(ours, name, this.#poller, {
      acknowledges: this.#has(PROTOCOL_F.REPLY_ACK),
      configChanged: () => void this.#try(() => this.#readLink()),
      failed: (error) => this.#fail(error),
    });
    // Sent when this returns: it waits for the acknowledgement alone.
    const sent = this.#requests.set(REQUEST.SET_BACKEND_REQ_FD, { fds: [theirs] });
    requireSys(name).closeFd(theirs);
    await sent;
  }

  /** Tells the backend what was chosen, and what goes with it. */
  async #accept(features: bigint): Promise<void> {
    const requests = this.#requests;
    await requests.set(REQUEST.SET_FEATURES, { payload: U64.write(features) });
    if (this.#has(PROTOCOL_F.STATUS)) {
      await this.#setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
      // Virtio 1.1, 3.1.1, step 6: a device that cannot work with them takes the bit back.
      const status = await requests.askNumber(REQUEST.GET_STATUS);
      if ((status & BigInt(FEATURES_OK)) === 0n) {
        throw requests.refuse(`does not accept ${featureNames(features, NET_FEATURE_NAMES).join(', ')}`);
      }
    }
    if (hasFeature(features, VIRTIO_NET_F.MTU)) {
      await requests.set(REQUEST.NET_SET_MTU, { payload: U64.write(BigInt(this.#options.mtu)) });
    }
    if (hasFeature(features, VIRTIO_NET_F.STATUS)) await this.#readLink();
    else this.#options.setLink(true);
  }

  #setStatus(status: number): Promise<void> {
    return this.#requests.set(REQUEST.SET_STATUS, { payload: U64.write(BigInt(status)) });
  }

  /** Reads whether the link is up, once more when it changed meanwhile. */
  async #readLink(): Promise<void> {
    this.#isLinkStale = true;
    if (this.#readsLink) return;
    this.#readsLink = true;
    try {
      while (this.#isLinkStale) {
        this.#isLinkStale = false;
        const asked = CONFIG.write(0, 0, new Uint8Array(CONFIG_BYTES));
        const found = CONFIG.read(await this.#requests.ask(REQUEST.GET_CONFIG, { payload: asked }));
        const config = {
          readConfig: (offset: number, length: number) => found?.data.slice(offset, offset + length),
          configGeneration: () => 0,
        };
        this.#options.setLink(readNetInfo(config, this.#options.name, featureMask(VIRTIO_NET_F.STATUS)).linkUp);
      }
    } finally {
      this.#readsLink = false;
    }
  }

  #makeRings(features: bigint, pairs: number): DriverRings {
    this.#requests.checkOpen();
    const rings = new DriverRings(this.#arena, { ...this.#options, features, pairs });
    this.#rings = rings;
    this.#unwatchError = this.#poller.watch(rings.error, () => {
      requireSockets(this.#options.name).drain(rings.error);
      this.#fail(this.#requests.refuse('says that a ring is broken'));
    });
    return rings;
  }

  /** Tells the backend of a ring. The kick comes last, since it starts the ring. */
  async #start({ index, size, base, addresses, kick, call }: DriverRing, error: number): Promise<void> {
    const requests = this.#requests;
    const payload = U64.write(BigInt(index));
    await requests.set(REQUEST.SET_VRING_NUM, { payload: VRING_STATE.write(index, size) });
    await requests.set(REQUEST.SET_VRING_BASE, { payload: VRING_STATE.write(index, base) });
    await requests.set(REQUEST.SET_VRING_ADDR, { payload: VRING_ADDR.write(addresses) });
    await requests.set(REQUEST.SET_VRING_CALL, { payload, fds: [call] });
    await requests.set(REQUEST.SET_VRING_ERR, { payload, fds: [error] });
    await requests.set(REQUEST.SET_VRING_KICK, { payload, fds: [kick] });
  }

  serve(): Promise<boolean> {
    return Promise.resolve(this.#requests.serve());
  }

  check(): void {
    if (this.#fault !== undefined) throw this.#fault;
    this.#requests.check();
    const broken = this.#rings?.broken();
    if (broken === undefined) return;
    throw this.#requests.refuse(`broke queue ${broken.index}: ${brokenRuleText(broken.code)}`);
  }

  /** Has the backend stop its rings, so that what it has sent is known. Nobody else reads its replies meanwhile. */
  async #stopRings(rings: readonly DriverRing[]): Promise<void> {
    const requests = this.#requests;
    let isStopped = false;
    const stop = async (): Promise<void> => {
      for (const { index } of rings) {
        await requests.ask(REQUEST.GET_VRING_BASE, { payload: VRING_STATE.write(index, 0) });
      }
    };
    const settled = (): void => {
      isStopped = true;
    };
    void stop().then(settled, settled);
    const untilMs = performance.now() + STOP_MS;
    while (!isStopped && performance.now() < untilMs && requests.serve()) await setTimeout(1);
  }

  async close(): Promise<void> {
    const rings = this.#rings;
    if (rings !== undefined && this.#served) await this.#try(() => this.#stopRings(rings.rings));
    this.#shut();
    await this.#negotiated;
    try {
      if (this.#served) await this.#options.serve([]);
    } finally {
      this.#rings?.close();
    }
  }

  #shut(): void {
    this.#requests.close();
    this.#fromBackend?.close();
    this.#unwatchError();
  }

  abandon(): void {
    this.#shut();
    this.#rings?.close();
  }
}
