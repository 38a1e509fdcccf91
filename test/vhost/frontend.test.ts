import { createPool } from 'ringway/memory';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Poller, requireSockets, requireSys, sysAvailable } from '#build/sys/index.js';
import { Channel, type Message } from '#build/vhost/channel.js';
import { driverWindowBytes } from '#build/vhost/driver-rings.js';
import { Frontend, type FrontendOptions } from '#build/vhost/frontend.js';
import type { NetPair } from '#build/vhost/net.js';
import {
  BACKEND_REQUEST,
  CONFIG,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  PROTOCOL_F,
  REQUEST,
  U64,
  VERSION,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from '#build/vhost/protocol.js';
import { VhostService } from '#build/vhost/service.js';
import { featureMask, VIRTIO_F } from '#build/virtio/features.js';
import { VIRTIO_NET_F } from '#build/virtio/net-features.js';
import { attachNetQueue } from '#build/virtio/net-queue.js';
import { testArena } from '../support/arena.ts';
import { effort } from '../support/effort.ts';
import { testFolder } from '../support/port-bench.ts';
import { countFds, until } from '../support/virtio-user.ts';

const onLinux = sysAvailable() ? test : test.skip;
const folder = testFolder();
const arena = testArena(64 << 20);
const pool = createPool(arena, { buffers: 1024, caches: 1 });
let poller: Poller;
beforeAll(async () => {
  if (!sysAvailable()) return;
  poller = new Poller(arena.handle.memory, 'a test');
  // Its thread has descriptors of its own once it runs.
  const sockets = requireSockets('a test');
  const fd = sockets.eventfd();
  let runs = false;
  const unwatch = poller.watch(fd, () => {
    runs = true;
    sockets.drain(fd);
  });
  sockets.signal(fd);
  await until('the poller', () => runs);
  unwatch();
  requireSys('a test').closeFd(fd);
});
afterAll(async () => {
  await poller?.close();
  folder.rm();
});

const PAIRS = 2;
const QUEUE_SIZE = 64;
const PROTOCOL = featureMask(
  PROTOCOL_F.MQ,
  PROTOCOL_F.RARP,
  PROTOCOL_F.REPLY_ACK,
  PROTOCOL_F.MTU,
  PROTOCOL_F.BACKEND_REQ,
  PROTOCOL_F.CONFIG,
  PROTOCOL_F.STATUS,
);
const SUPPORTED = featureMask(VIRTIO_F.VERSION_1, VIRTIO_F.RING_PACKED, VIRTIO_F.IN_ORDER, VIRTIO_NET_F.MRG_RXBUF);
const FEATURES =
  SUPPORTED | featureMask(VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_NET_F.MQ, VIRTIO_NET_F.MTU, VIRTIO_NET_F.STATUS);

/** A reply as it goes over the socket: what a backend that behaves says. */
interface Reply {
  request: number;
  flags: number;
  size: number;
  payload: Uint8Array;
  fds: number[];
}

/** What a backend does instead: changes the reply, or does something else and returns undefined. */
type Change = (reply: Reply, backend: ScriptedBackend) => Reply | undefined;

/** A backend that does as it is told, of each connection anew. */
class ScriptedBackend {
  readonly seen: number[] = [];
  /** The channel on which it asks. */
  asks: Channel | undefined;
  link = 1;
  protocol = PROTOCOL;
  features = FEATURES;
  connections = 0;
  readonly #sockets = requireSockets('a test');
  readonly #closeFd = requireSys('a test').closeFd;
  readonly #listener: number;
  readonly #unwatch: () => void;
  readonly #change: (request: number, connection: number) => Change | undefined;
  #channel: Channel | undefined;
  #unwatchChannel = (): void => {};
  #silent = false;
  #status = 0n;

  /** @param change what it does to the reply of a request of its n-th connection, from 1. */
  constructor(path: string, change: (request: number, connection: number) => Change | undefined = () => undefined) {
    this.#listener = this.#sockets.listen(path);
    this.#unwatch = poller.watch(this.#listener, () => this.#accept());
    this.#change = change;
  }

  #accept(): void {
    const fd = this.#sockets.accept(this.#listener);
    if (fd === undefined) return;
    this.hangUp();
    this.connections++;
    this.#silent = false;
    this.#channel = new Channel(fd, 'backend');
    this.#unwatchChannel = poller.watch(fd, () => this.#serve());
  }

  #serve(): void {
    for (;;) {
      const message = this.#channel?.read() ?? 'again';
      if (message === 'closed') this.hangUp();
      if (typeof message === 'string') return;
      this.#take(message);
    }
  }

  #take({ request, flags, payload, fds }: Message): void {
    this.seen.push(request);
    if (request === REQUEST.SET_BACKEND_REQ_FD) this.asks = new Channel(fds[0] ?? -1, 'backend');
    else for (const fd of fds) this.#closeFd(fd);
    if (request === REQUEST.SET_STATUS) this.#status = U64.read(payload);
    const answers = new Map<number, () => Uint8Array>([
      [REQUEST.GET_FEATURES, () => U64.write(this.features)],
      [REQUEST.GET_PROTOCOL_FEATURES, () => U64.write(this.protocol)],
      [REQUEST.GET_QUEUE_NUM, () => U64.write(8n)],
      [REQUEST.GET_STATUS, () => U64.write(this.#status)],
      [REQUEST.GET_VRING_BASE, () => payload],
      [REQUEST.GET_CONFIG, () => CONFIG.write(0, 0, Uint8Array.of(2, 0, 0, 0, 0, 1, this.link, 0))],
    ]);
    const answer = answers.get(request)?.() ?? (flags & FLAG_NEED_REPLY ? U64.write(0n) : undefined);
    if (this.#silent) return;
    const reply = {
      request,
      flags: VERSION | FLAG_REPLY,
      size: answer?.length ?? 0,
      payload: answer ?? U64.write(0n),
      fds: [],
    };
    const change = this.#change(request, this.connections);
    if (change === undefined) {
      if (answer !== undefined) this.send(reply);
      return;
    }
    const changed = change(reply, this);
    if (changed !== undefined) this.send(changed);
  }

  send({ request, flags, size, payload, fds }: Reply): void {
    const bytes = new Uint8Array(12 + payload.length);
    new Uint32Array(bytes.buffer, 0, 3).set([request, flags, size]);
    bytes.set(payload, 12);
    this.sendRaw(bytes, fds);
  }

  sendRaw(bytes: Uint8Array, fds: number[] = []): void {
    if (this.#channel !== undefined) this.#sockets.send(this.#channel.fd, bytes, fds);
  }

  /** Says nothing more until the next connection. */
  silence(): void {
    this.#silent = true;
  }

  hangUp(): void {
    this.#unwatchChannel();
    this.#unwatchChannel = () => {};
    this.#channel?.close();
    this.#channel = undefined;
    this.asks?.close();
    this.asks = undefined;
  }

  close(): void {
    this.hangUp();
    this.#unwatch();
    this.#closeFd(this.#listener);
  }
}

let serial = 0;

/** A frontend that keeps on connecting, with what it was told. */
function driver(options: Partial<FrontendOptions> = {}) {
  const name = `vu${serial}`;
  const socket = folder.path(`${serial++}.sock`);
  const window = arena.reserve(`${name} window`, driverWindowBytes(PAIRS, QUEUE_SIZE), 4096);
  const told = {
    pairs: [] as readonly NetPair[],
    runs: 0,
    link: undefined as boolean | undefined,
    faults: [] as string[],
  };
  const service = new VhostService(poller, {
    name,
    socket,
    server: false,
    connect: (fd) =>
      new Frontend(
        arena,
        poller,
        {
          name,
          supported: SUPPORTED,
          pairs: PAIRS,
          queueSize: QUEUE_SIZE,
          mtu: 1500,
          mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
          window,
          async serve(pairs) {
            told.pairs = pairs;
            if (pairs.length > 0) told.runs++;
          },
          setLink(up) {
            told.link = up;
          },
          ...options,
        },
        fd,
      ),
    onChange({ fault }) {
      if (fault !== undefined) told.faults.push(fault);
    },
  });
  return {
    socket,
    service,
    told,
    async close() {
      await service.close();
      arena.release(`${name} window`);
    },
  };
}

/** What is left behind of all that `work` did. */
async function leftovers(work: () => Promise<void>): Promise<unknown> {
  const before = { regions: arena.regions().map(({ name }) => name), fds: countFds() };
  await work();
  const after = { regions: arena.regions().map(({ name }) => name), fds: countFds() };
  expect(after).toEqual(before);
  return arena.damaged();
}

const RING = [
  REQUEST.SET_VRING_NUM,
  REQUEST.SET_VRING_BASE,
  REQUEST.SET_VRING_ADDR,
  REQUEST.SET_VRING_CALL,
  REQUEST.SET_VRING_ERR,
  REQUEST.SET_VRING_KICK,
];
const SEQUENCE: number[] = [
  REQUEST.GET_FEATURES,
  REQUEST.GET_PROTOCOL_FEATURES,
  REQUEST.SET_PROTOCOL_FEATURES,
  REQUEST.GET_QUEUE_NUM,
  REQUEST.SET_BACKEND_REQ_FD,
  REQUEST.SET_OWNER,
  REQUEST.SET_FEATURES,
  REQUEST.SET_STATUS,
  REQUEST.GET_STATUS,
  REQUEST.NET_SET_MTU,
  REQUEST.GET_CONFIG,
  REQUEST.SET_MEM_TABLE,
  ...Array.from({ length: 2 * PAIRS }, () => RING).flat(),
  ...Array.from({ length: 2 * PAIRS }, () => REQUEST.SET_VRING_ENABLE),
  REQUEST.SET_STATUS,
  REQUEST.SEND_RARP,
];

onLinux('a backend is told everything in order, and asked to stop', async () => {
  const left = await leftovers(async () => {
    const { socket, service, told, close } = driver();
    const backend = new ScriptedBackend(socket);
    service.open();
    await until('rings', () => told.runs === 1);
    expect(backend.seen).toEqual(SEQUENCE);
    expect(told).toMatchObject({ link: true, faults: [] });
    expect(told.pairs).toHaveLength(PAIRS);
    backend.seen.length = 0;
    await close();
    expect(backend.seen).toEqual(Array(2 * PAIRS).fill(REQUEST.GET_VRING_BASE));
    expect(told.pairs).toEqual([]);
    backend.close();
  });
  expect(left).toEqual([]);
});

onLinux('a backend without features of the protocol is told no more than it knows', async () => {
  const { socket, service, told, close } = driver();
  const backend = new ScriptedBackend(socket);
  backend.features = featureMask(VIRTIO_F.VERSION_1, VIRTIO_NET_F.MQ, VIRTIO_NET_F.MTU, VIRTIO_NET_F.STATUS);
  service.open();
  await until('rings', () => told.runs === 1);
  expect(told.pairs).toHaveLength(1);
  const all = [REQUEST.GET_FEATURES, REQUEST.SET_OWNER, REQUEST.SET_FEATURES, REQUEST.SET_MEM_TABLE, ...RING, ...RING];
  await until('the last message', () => backend.seen.length === all.length);
  expect(backend.seen).toEqual(all);
  await close();
  backend.close();
});

/** Each way to go wrong, and what is said of it; what an answer may be, it is not wrong to say. */
const WRONGS: readonly { readonly name: string; readonly change: Change; readonly fault: RegExp }[] = [
  { name: 'hangs up', change: (_, backend) => void backend.hangUp(), fault: /closed the connection before|is gone/ },
  {
    name: 'sends noise',
    change: (_, backend) => void backend.sendRaw(new Uint8Array(200).map((__, i) => i * 37)),
    fault: /flags=0x/,
  },
  { name: 'answers with the wrong number', change: (reply) => ({ ...reply, request: 99 }), fault: /request 99/ },
  {
    name: 'answers with the wrong flags',
    change: (reply) => ({ ...reply, flags: 1 }),
    fault: /flags=0x1|nobody asked|answers \w+ with/,
  },
  {
    name: 'answers with a size that cannot be',
    change: (reply) => ({ ...reply, size: 2 ** 31 }),
    fault: /size=2147483648/,
  },
  {
    name: 'answers with too little',
    change: (reply) => ({ ...reply, size: 3, payload: reply.payload.subarray(0, 3) }),
    fault: /with 3 bytes|refuses|no configuration|nobody asked|answers \w+ with/,
  },
  {
    name: 'answers twice',
    change: (reply, backend) => {
      backend.send(reply);
      return reply;
    },
    fault: /nobody asked|answers \w+ with/,
  },
  {
    name: 'answers with a descriptor',
    change(reply, backend) {
      const fd = requireSockets('a test').eventfd();
      backend.send({ ...reply, fds: [fd] });
      requireSys('a test').closeFd(fd);
      return undefined;
    },
    fault: /1 descriptors|nobody asked|answers \w+ with/,
  },
];

// All at once, since each attempt comes a tenth of a second after the one before.
onLinux(
  'a backend that goes wrong anywhere is sent away, and the next one is taken',
  async () => {
    const left = await leftovers(async () => {
      const steps = [...new Set(SEQUENCE)];
      const all = steps.map((step) => {
        const made = driver();
        const backend = new ScriptedBackend(made.socket, (request, connection) =>
          request === step ? WRONGS[connection - 1]?.change : undefined,
        );
        return { step, backend, ...made };
      });
      for (const { service } of all) service.open();
      for (const { step, told, backend } of all) {
        await until(
          `rings, after ${step} went wrong: ${told.faults.join('; ')}`,
          () => told.runs > 0 && backend.connections > WRONGS.length,
          20_000,
        );
      }
      for (const { step, told, backend, close } of all) {
        for (const [index, { fault, name }] of WRONGS.entries()) {
          expect(told.faults[index], `${step} ${name}`).toMatch(fault);
        }
        expect(told.faults).toHaveLength(WRONGS.length);
        await close();
        backend.close();
      }
    });
    expect(left).toEqual([]);
  },
  30_000,
);

// Some seconds that the fast suite does not have.
const whenDeep = effort<typeof onLinux | (() => void)>(() => {}, onLinux);
whenDeep(
  'a backend that says nothing is given some seconds',
  async () => {
    const { socket, service, told, close } = driver();
    const backend = new ScriptedBackend(socket, (request, connection) =>
      connection === 1 && request === REQUEST.SET_MEM_TABLE ? (_, it) => void it.silence() : undefined,
    );
    service.open();
    await until('rings', () => told.runs === 1, 15_000);
    expect(told.faults).toEqual([expect.stringMatching(/has not answered SET_MEM_TABLE for 5 s/)]);
    // Nor is a stop waited for.
    backend.silence();
    const startMs = performance.now();
    await close();
    expect(performance.now() - startMs).toBeLessThan(2000);
    backend.close();
  },
  30_000,
);

onLinux('what a backend refuses is named', async () => {
  const refusals: [number, Change, RegExp][] = [
    [REQUEST.SET_VRING_NUM, (reply) => ({ ...reply, payload: U64.write(1n) }), /refuses SET_VRING_NUM/],
    [
      REQUEST.GET_FEATURES,
      (reply) => ({ ...reply, payload: U64.write(2n) }),
      /offers no VIRTIO_F_VERSION_1; it offers VIRTIO_NET_F_GUEST_CSUM/,
    ],
    [REQUEST.GET_STATUS, (reply) => ({ ...reply, payload: U64.write(3n) }), /does not accept .*VIRTIO_F_VERSION_1/],
    [REQUEST.GET_QUEUE_NUM, (reply) => ({ ...reply, payload: U64.write(0n) }), /has no queue pair/],
    [
      REQUEST.GET_CONFIG,
      (reply) => ({ ...reply, size: 12, payload: CONFIG.write(0, 0, new Uint8Array(0)) }),
      /no configuration of 8 bytes/,
    ],
  ];
  const { socket, service, told, close } = driver();
  const backend = new ScriptedBackend(socket, (request, connection) =>
    request === refusals[connection - 1]?.[0] ? refusals[connection - 1]?.[1] : undefined,
  );
  service.open();
  await until('rings', () => told.runs === 1);
  for (const [index, [, , fault]] of refusals.entries()) expect(told.faults[index]).toMatch(fault);
  await close();
  backend.close();
});

onLinux('a backend says that its link changed, and nothing else', async () => {
  const { socket, service, told, close } = driver();
  const backend = new ScriptedBackend(socket);
  service.open();
  await until('rings', () => told.runs === 1);
  for (const link of [0, 1]) {
    backend.link = link;
    // A hundred at once are read as one or two.
    for (let i = 0; i < 100; i++) backend.asks?.send(BACKEND_REQUEST.CONFIG_CHANGE_MSG, new Uint8Array(0));
    await until('the link', () => told.link === (link === 1));
  }
  expect(backend.seen.filter((request) => request === REQUEST.GET_CONFIG).length).toBeLessThan(30);
  backend.asks?.send(BACKEND_REQUEST.IOTLB_MSG, new Uint8Array(32));
  await until('a fault', () => told.faults.length === 1);
  expect(told.faults[0]).toMatch(/sends IOTLB_MSG, which was not negotiated/);
  await until('rings again', () => told.runs === 2);
  await close();
  backend.close();
});

onLinux('a backend that breaks a ring is sent away, with nothing lost but the ring', async () => {
  const left = await leftovers(async () => {
    const { socket, service, told, close } = driver();
    const backend = new ScriptedBackend(socket);
    service.open();
    const slots = arena.allocate('slots', 512);
    for (let run = 1; run <= 5; run++) {
      await until('rings', () => told.runs === run && told.pairs.length > 0);
      const queue = attachNetQueue(arena, told.pairs[run % PAIRS]?.receive?.net ?? 0, pool.caches[0] ?? 0);
      expect(queue.receive(slots, 32)).toBe(0);
      const { address, bytes } = arena.region(`vu${serial - 1} window`);
      // As a backend can: it reaches all of the window.
      arena.u8.fill(255, address, address + bytes);
      for (let i = 0; i < 10; i++) {
        const n = queue.receive(slots, 32);
        arena
          .kernels<{ poolFree(cache: number, slots: number, n: number): void }>()
          .poolFree(pool.caches[0] ?? 0, slots, n);
      }
      expect(queue.fault()).toBeDefined();
      await until('a fault', () => told.faults.length === run);
      expect(told.faults.at(-1)).toMatch(new RegExp(`the backend broke queue ${2 * (run % PAIRS)}: `));
    }
    await close();
    arena.release('slots');
    backend.close();
  });
  expect(left).toEqual([]);
});
