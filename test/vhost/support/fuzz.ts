import { readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseConfig, startDataplane } from '#build/dataplane/index.js';
import { requireSockets, requireSys } from '#build/sys/index.js';
import { Random } from '#build/util/random.js';
import { Channel, type Message } from '#build/vhost/channel.js';
import * as P from '#build/vhost/protocol.js';

const MEMORY_BYTES = 1 << 20;
/** All that a network device offers: MQ, LOG_SHMFD, RARP, REPLY_ACK, MTU, BACKEND_REQ, CONFIG, INFLIGHT, RESET, SLOTS, STATUS. */
const PROTOCOL = 0x1b23fn;
const GUEST = 0x4000_0000n;
const USER = 0x7f00_0000_0000n;
/** Where the parts of a ring lie in the memory, a page for each, 16 pages for each ring. */
const ringAt = (index: number): bigint => USER + BigInt(index) * 0x10000n;

/** A message that a frontend sends; `fds` says what comes along. */
interface Step {
  readonly request: number;
  readonly payload: Uint8Array;
  readonly fds: readonly (typeof KINDS)[number][];
  readonly flags?: number;
}

/** What a frontend that behaves sends to have one pair of queues running. */
function script(packed: boolean): Step[] {
  const { REQUEST } = P;
  const none: Step['fds'] = [];
  const features = (1n << 30n) | (1n << 32n) | (packed ? 1n << 34n : 0n) | (1n << 28n) | (1n << 29n) | (1n << 15n);
  const region = { guest: GUEST, bytes: BigInt(MEMORY_BYTES), user: USER, offset: 0n };
  const rings = [0, 1].flatMap((index): Step[] => {
    const at = ringAt(index);
    const addresses = { index, flags: 0, descriptors: at, available: at + 0x4000n, used: at + 0x8000n, log: 0n };
    return [
      { request: REQUEST.SET_VRING_CALL, payload: P.U64.write(BigInt(index)), fds: ['event'] },
      { request: REQUEST.SET_VRING_NUM, payload: P.VRING_STATE.write(index, 256), fds: none },
      { request: REQUEST.SET_VRING_BASE, payload: P.VRING_STATE.write(index, packed ? 0x8000_8000 : 0), fds: none },
      { request: REQUEST.SET_VRING_ADDR, payload: P.VRING_ADDR.write(addresses), fds: none },
      { request: REQUEST.SET_VRING_KICK, payload: P.U64.write(BigInt(index)), fds: ['event'] },
      { request: REQUEST.SET_VRING_ENABLE, payload: P.VRING_STATE.write(index, 1), fds: none },
    ];
  });
  const inflight = P.INFLIGHT.write({ bytes: 65536n, offset: 0n, queues: 2, queueSize: 256 });
  return [
    { request: REQUEST.GET_FEATURES, payload: new Uint8Array(0), fds: none },
    { request: REQUEST.GET_PROTOCOL_FEATURES, payload: new Uint8Array(0), fds: none },
    { request: REQUEST.SET_PROTOCOL_FEATURES, payload: P.U64.write(PROTOCOL), fds: none },
    { request: REQUEST.GET_QUEUE_NUM, payload: new Uint8Array(0), fds: none },
    { request: REQUEST.SET_OWNER, payload: new Uint8Array(0), fds: none },
    { request: REQUEST.SET_BACKEND_REQ_FD, payload: new Uint8Array(0), fds: ['socket'] },
    { request: REQUEST.SET_FEATURES, payload: P.U64.write(features), fds: none },
    { request: REQUEST.GET_INFLIGHT_FD, payload: inflight, fds: none },
    { request: REQUEST.SET_LOG_BASE, payload: P.LOG.write({ bytes: 4096n, offset: 0n }), fds: ['memory'] },
    { request: REQUEST.SET_MEM_TABLE, payload: P.MEM_TABLE.write([region]), fds: ['memory'] },
    ...rings,
    { request: REQUEST.NET_SET_MTU, payload: P.U64.write(1400n), fds: none },
    { request: REQUEST.SEND_RARP, payload: P.U64.write(0x0605_0403_0202n), fds: none },
    { request: REQUEST.SET_STATUS, payload: P.U64.write(15n), fds: none },
    { request: REQUEST.GET_CONFIG, payload: P.CONFIG.write(0, 0, new Uint8Array(8)), fds: none },
    {
      request: REQUEST.ADD_MEM_REG,
      payload: P.SINGLE_REGION.write({ ...region, guest: 0n, user: 0n }),
      fds: ['memory'],
    },
    { request: REQUEST.GET_VRING_BASE, payload: P.VRING_STATE.write(0, 0), fds: none },
    { request: REQUEST.RESET_DEVICE, payload: new Uint8Array(0), fds: none },
  ];
}

const KINDS = ['memory', 'event', 'socket'] as const;
const pick = <T>(random: Random, values: readonly T[]): T => values[random.below(values.length)] as T;

/** Changes a script here and there. */
function mutate(steps: readonly Step[], random: Random): Step[] {
  const rate = pick(random, [0, 20, 100, 400]);
  return steps.flatMap((step): Step[] => {
    if (random.below(1000) >= rate) return [step];
    const bytes = step.payload.slice();
    switch (random.below(8)) {
      case 0:
        return [];
      case 1:
        return [step, step];
      case 2:
        return [{ ...step, payload: new Uint8Array(random.below(64)) }];
      case 3:
        for (let i = random.below(4); i >= 0 && bytes.length > 0; i--)
          bytes[random.below(bytes.length)] = random.below(256);
        return [{ ...step, payload: bytes }];
      case 4:
        return [
          {
            ...step,
            fds: Array.from({ length: random.below(12) }, () => pick(random, KINDS)),
          },
        ];
      case 5:
        return [{ ...step, flags: random.below(256) }];
      case 6:
        return [{ ...step, request: random.below(64) }];
      default:
        return [pick(random, steps), step];
    }
  });
}

/** Writes into the memory of a frontend what no driver would: descriptors, heads, indexes that lead anywhere. */
function scribble(memory: number, random: Random): void {
  const page = new Uint8Array(0x1000);
  const view = new DataView(page.buffer);
  for (let at = 0; at < page.length; at += 16) {
    const guest = GUEST + BigInt(random.below(MEMORY_BYTES + 0x2000));
    view.setBigUint64(at, random.below(8) === 0 ? BigInt(random.next()) << 32n : guest, true);
    view.setUint32(at + 8, random.below(4) === 0 ? random.next() : random.below(4096), true);
    view.setUint16(
      at + 12,
      pick(random, [0, 1, 2, 3, 4, 5, 0x80, 0x82, 0x8000, 0x8080, 0x84, random.below(65536)]),
      true,
    );
    view.setUint16(at + 14, pick(random, [0, 1, 0x80, 0x82, 0x81, 0x84, random.below(300), random.below(65536)]), true);
  }
  const ring = random.below(2) * 0x10000;
  writeSync(memory, page, 0, page.length, ring);
  // The driver's area of a split ring, and the event suppression of a packed one: an index, then heads.
  view.setUint16(2, pick(random, [1, 16, 256, 257, random.below(65536)]), true);
  for (let at = 4; at < 516; at += 2) view.setUint16(at, random.below(random.below(8) === 0 ? 65536 : 256), true);
  writeSync(memory, page, 0, 520, ring + 0x4000);
}

/** Requests that are answered with 0 when they were done. */
const ACKED = new Set<number>([
  P.REQUEST.SET_OWNER,
  P.REQUEST.SET_FEATURES,
  P.REQUEST.SET_MEM_TABLE,
  P.REQUEST.SET_VRING_NUM,
  P.REQUEST.SET_VRING_ADDR,
  P.REQUEST.SET_VRING_BASE,
  P.REQUEST.SET_VRING_KICK,
  P.REQUEST.SET_VRING_CALL,
  P.REQUEST.SET_VRING_ENABLE,
  P.REQUEST.NET_SET_MTU,
  P.REQUEST.SET_STATUS,
  P.REQUEST.ADD_MEM_REG,
  P.REQUEST.RESET_DEVICE,
]);

const countFds = (): number => readdirSync('/proc/self/fd').length;

/** A dataplane with a vhost-user port that hostile frontends talk to, and traffic between two other ports. */
export async function fuzz(
  folder: string,
  seed: number,
  frontends: number,
): Promise<{ served: number; refused: number }> {
  const sys = requireSys('the test');
  const sockets = requireSockets('the test');
  const socket = join(folder, `fuzz-${seed}.sock`);
  const config = parseConfig(
    JSON.stringify({
      version: 1,
      lcores: 1,
      ports: {
        vm: { type: 'vhost-user', socket },
        load: { type: 'generator', rate: '20kpps', dstMac: '02:00:00:00:00:09', learn: false },
        sink: { type: 'null' },
      },
      switch: { static: [{ mac: '02:00:00:00:00:09', port: 'sink' }] },
    }),
    { file: 'fuzz.yaml' },
  );
  const dataplane = await startDataplane(config);
  const random = new Random(seed);
  const sunk = (): number => dataplane.snapshot().ports.find(({ name }) => name === 'sink')?.txPackets ?? 0;
  let failure: unknown;
  dataplane.finished.catch((error: unknown) => {
    failure = error;
  });
  let served = 0;
  let refused = 0;

  /** Connects; the one before may still be going. */
  const connect = async (): Promise<Channel> => {
    for (let i = 0; i < 200; i++) {
      const fd = sockets.connect(socket);
      if (fd !== undefined) return new Channel(fd, 'fuzz');
      await setTimeout(5);
    }
    throw new Error(`seed ${seed}: nobody listens any more`);
  };
  const nextOf = async (channel: Channel): Promise<Message | 'closed'> => {
    for (let i = 0; i < 500; i++) {
      const message = channel.read();
      if (message !== 'again') return message;
      await setTimeout(1);
    }
    throw new Error(`seed ${seed}: no answer`);
  };
  const withFds = async (use: (fds: Record<(typeof KINDS)[number], number>) => Promise<void>): Promise<void> => {
    const fds = {
      memory: sys.memfdCreate('fuzz', MEMORY_BYTES, { seal: random.below(2) === 0 }),
      event: sockets.eventfd(),
      // Nobody ever writes to it here.
      socket: sockets.eventfd(),
    };
    try {
      await use(fds);
    } finally {
      for (const fd of Object.values(fds)) sys.closeFd(fd);
    }
  };
  /** A frontend that does nothing wrong: all that it asks for is done. */
  const isAlive = (): Promise<void> =>
    withFds(async (fds) => {
      const channel = await connect();
      for (const [index, step] of script(served % 2 === 1).entries()) {
        const need = index > 2;
        channel.send(step.request, step.payload, { fds: step.fds.map((kind) => fds[kind]), need });
        if (!need && step.request === P.REQUEST.SET_PROTOCOL_FEATURES) continue;
        const answer = await nextOf(channel);
        // The one before may not be gone yet: then this one is sent away at once.
        if (answer === 'closed' && index === 0) {
          channel.close();
          await setTimeout(5);
          return isAlive();
        }
        const name = P.requestName(step.request);
        if (answer === 'closed') throw new Error(`seed ${seed}: sent away at ${name}`);
        for (const fd of answer.fds) sys.closeFd(fd);
        if (ACKED.has(step.request) && P.U64.read(answer.payload) !== 0n)
          throw new Error(`seed ${seed}: ${name} refused`);
      }
      channel.close();
      served++;
    });

  try {
    await isAlive();
    const fdsBefore = countFds();
    for (let i = 0; i < frontends; i++) {
      if (failure !== undefined) throw failure;
      const before = sunk();
      await withFds(async (fds) => {
        const channel = await connect();
        for (const step of mutate(script(random.below(2) === 0), random)) {
          const { request, payload, flags = 0 } = step;
          const descriptors = step.fds.map((kind) => fds[kind]);
          const need = (flags & P.FLAG_NEED_REPLY) !== 0 || random.below(4) === 0;
          const reply = (flags & P.FLAG_REPLY) !== 0;
          if (!channel.send(request, payload, { fds: descriptors, need, reply })) break;
        }
        for (let writes = random.below(6); writes > 0; writes--) {
          scribble(fds.memory, random);
          await setTimeout(random.below(3));
        }
        for (let answer = channel.read(); answer !== 'again'; answer = channel.read()) {
          if (answer === 'closed') {
            refused++;
            break;
          }
          for (const fd of answer.fds) sys.closeFd(fd);
        }
        channel.close();
      });
      if (i % 16 === 15) {
        await isAlive();
        await setTimeout(20);
        if (sunk() === before) throw new Error(`seed ${seed}, frontend ${i}: other ports stand still`);
      }
    }
    await isAlive();
    await setTimeout(100);
    const leaked = countFds() - fdsBefore;
    if (leaked > 0) throw new Error(`seed ${seed}: ${leaked} descriptors are open that were not before`);
    const { pool } = await dataplane.stop();
    if (pool.inFlight !== 0) throw new Error(`seed ${seed}: ${pool.inFlight} buffers are missing`);
    return { served, refused };
  } catch (error) {
    await dataplane.stop();
    throw error;
  }
}
