import { VIRTIO_F } from '../../virtio/features.ts';
import {
  CONFIG,
  FLAG_REPLY,
  HEADER_BYTES,
  INFLIGHT,
  LOG,
  MEM_TABLE,
  type MemoryRegion,
  PROTOCOL_F,
  REQUEST,
  requestName,
  SINGLE_REGION,
  U64,
  VERSION,
  VRING_ADDR,
  VRING_NO_FD,
  VRING_STATE,
  type VringAddresses,
} from '../protocol.ts';
import type { Bench, Session } from './bench.ts';
import { type Check, CheckFailed, quiet } from './check.ts';
import { type Outcome, wire } from './frontend.ts';

const MODERN = [VIRTIO_F.VERSION_1];
const NOTHING: Uint8Array = new Uint8Array(0);
const MESSAGES = 20_000;
const REGION_BYTES = 1n << 16n;

function refused(what: string, outcome: Outcome): void {
  if (outcome !== 'refused' && outcome !== 'closed')
    throw new CheckFailed(`${what} to be refused, or a closed connection`, outcome);
}

/** A check of one message that breaks a rule, sent by a frontend that has set up all but its rings. */
function rejects(
  name: string,
  section: string,
  send: (session: Session, bench: Bench) => Promise<Outcome>,
  { protocol = [], withoutMemory = false }: { protocol?: readonly number[]; withoutMemory?: boolean } = {},
): Check {
  return {
    name,
    section,
    hostile: true,
    needs: { features: MODERN, protocol },
    async run(bench) {
      refused('the message', await send(await bench.open({ withoutMemory }), bench));
    },
  };
}

/** Payloads of requests, right but for their length: of a fixed size all of them. */
const SIZED: readonly (readonly [request: number, payload: Uint8Array, protocol?: number])[] = [
  [REQUEST.SET_FEATURES, U64.write(0n)],
  [REQUEST.SET_PROTOCOL_FEATURES, U64.write(0n)],
  [REQUEST.SET_VRING_NUM, VRING_STATE.write(0, 64)],
  [REQUEST.SET_VRING_ADDR, VRING_ADDR.write({ index: 0, flags: 0, descriptors: 0n, used: 0n, available: 0n, log: 0n })],
  [REQUEST.SET_VRING_BASE, VRING_STATE.write(0, 0)],
  [REQUEST.GET_VRING_BASE, VRING_STATE.write(0, 0)],
  [REQUEST.SET_VRING_KICK, U64.write(BigInt(VRING_NO_FD))],
  [REQUEST.SET_VRING_CALL, U64.write(BigInt(VRING_NO_FD))],
  [REQUEST.SET_VRING_ERR, U64.write(BigInt(VRING_NO_FD))],
  [REQUEST.SET_VRING_ENABLE, VRING_STATE.write(0, 0)],
  [REQUEST.SEND_RARP, new Uint8Array(8), PROTOCOL_F.RARP],
  [REQUEST.NET_SET_MTU, U64.write(1500n), PROTOCOL_F.MTU],
  [REQUEST.GET_CONFIG, CONFIG.write(0, 0, new Uint8Array(6)), PROTOCOL_F.CONFIG],
  [
    REQUEST.GET_INFLIGHT_FD,
    INFLIGHT.write({ bytes: 0n, offset: 0n, queues: 1, queueSize: 64 }),
    PROTOCOL_F.INFLIGHT_SHMFD,
  ],
  [REQUEST.SET_STATUS, U64.write(0n), PROTOCOL_F.STATUS],
];
/** Requests without a payload. */
const EMPTY: readonly (readonly [request: number, protocol?: number])[] = [
  [REQUEST.GET_FEATURES],
  [REQUEST.SET_OWNER],
  [REQUEST.GET_PROTOCOL_FEATURES],
  [REQUEST.GET_QUEUE_NUM, PROTOCOL_F.MQ],
  [REQUEST.GET_STATUS, PROTOCOL_F.STATUS],
  [REQUEST.GET_MAX_MEM_SLOTS, PROTOCOL_F.CONFIGURE_MEM_SLOTS],
];

const MESSAGE = 'Message Specification';
const slug = (request: number): string => requestName(request).toLowerCase().replaceAll('_', '-');

const SIZE_CHECKS: readonly Check[] = [
  ...SIZED.flatMap(([request, payload, protocol]) => {
    const needs = { protocol: protocol === undefined ? [] : [protocol] };
    const longer = new Uint8Array(payload.length + 8);
    longer.set(payload);
    return [
      rejects(
        `short-${slug(request)}`,
        MESSAGE,
        ({ frontend }) => frontend.attempt(request, payload.subarray(0, 4)),
        needs,
      ),
      rejects(`long-${slug(request)}`, MESSAGE, ({ frontend }) => frontend.attempt(request, longer), needs),
    ];
  }),
  ...EMPTY.map(([request, protocol]) =>
    rejects(`long-${slug(request)}`, MESSAGE, ({ frontend }) => frontend.attempt(request, new Uint8Array(8)), {
      protocol: protocol === undefined ? [] : [protocol],
    }),
  ),
];

const MEMORY = 'Memory regions description';
/** Regions that no backend may map, over a file of a page. */
const BAD_REGIONS: Readonly<Record<string, (good: MemoryRegion) => readonly MemoryRegion[]>> = {
  'memory-empty-region': (good) => [{ ...good, bytes: 0n }],
  'memory-overlap': (good) => [good, { ...good, guest: good.guest + good.bytes / 2n }],
  'memory-wraps-guest': (good) => [{ ...good, guest: (1n << 64n) - good.bytes / 2n }],
  'memory-wraps-user': (good) => [{ ...good, user: (1n << 64n) - good.bytes / 2n }],
  'memory-wraps-offset': (good) => [{ ...good, offset: (1n << 64n) - good.bytes }],
  'memory-beyond-file': (good) => [{ ...good, bytes: good.bytes * 16n }],
  'memory-offset-beyond-file': (good) => [{ ...good, offset: good.bytes * 16n }],
};

/** Some backends do not look at a table like the one that they have. */
const FIRST = { withoutMemory: true };

const MEMORY_CHECKS: readonly Check[] = [
  ...Object.entries(BAD_REGIONS).map(([name, make]) =>
    rejects(
      name,
      MEMORY,
      ({ frontend }, bench) => {
        const fd = bench.file(Number(REGION_BYTES));
        const regions = make({ guest: 0x8000_0000n, user: 0x8000_0000n, bytes: REGION_BYTES, offset: 0n });
        return frontend.attempt(
          REQUEST.SET_MEM_TABLE,
          MEM_TABLE.write(regions),
          regions.map(() => fd),
        );
      },
      FIRST,
    ),
  ),
  rejects(
    'memory-nine-regions',
    MEMORY,
    ({ frontend, memory }) => {
      const regions = Array.from({ length: 9 }, (_, i) => ({
        ...memory.region,
        guest: BigInt(i) << 40n,
        user: BigInt(i) << 40n,
      }));
      return frontend.attempt(
        REQUEST.SET_MEM_TABLE,
        MEM_TABLE.write(regions),
        regions.map(() => memory.fd),
      );
    },
    FIRST,
  ),
  rejects(
    'memory-count-lies',
    MEMORY,
    ({ frontend, memory }) => {
      const payload = MEM_TABLE.write([memory.region]);
      payload[0] = 8;
      return frontend.attempt(
        REQUEST.SET_MEM_TABLE,
        payload,
        Array.from({ length: 8 }, () => memory.fd),
      );
    },
    FIRST,
  ),
  rejects(
    'memory-no-descriptor',
    'Front-end message types: SET_MEM_TABLE',
    ({ frontend, memory }) => frontend.attempt(REQUEST.SET_MEM_TABLE, MEM_TABLE.write([memory.region])),
    FIRST,
  ),
  rejects(
    'memory-surplus-descriptor',
    'Front-end message types: SET_MEM_TABLE',
    ({ frontend, memory }) =>
      frontend.attempt(REQUEST.SET_MEM_TABLE, MEM_TABLE.write([memory.region]), [memory.fd, memory.fd]),
    FIRST,
  ),
  rejects(
    'memory-no-file',
    'Front-end message types: SET_MEM_TABLE',
    ({ frontend, memory }, bench) =>
      frontend.attempt(REQUEST.SET_MEM_TABLE, MEM_TABLE.write([memory.region]), [bench.eventfd()]),
    FIRST,
  ),
  rejects(
    'slot-overlap',
    'Front-end message types: ADD_MEM_REG',
    // Not the same one once more: QEMU before 9 sends that for each further pair of queues.
    ({ frontend, memory: { region, fd } }) =>
      frontend.attempt(REQUEST.ADD_MEM_REG, SINGLE_REGION.write({ ...region, guest: region.guest + 0x1000n }), [fd]),
    { protocol: [PROTOCOL_F.CONFIGURE_MEM_SLOTS] },
  ),
  rejects(
    'log-beyond-file',
    'Migration; SET_LOG_BASE',
    ({ frontend }, bench) =>
      frontend.attempt(REQUEST.SET_LOG_BASE, LOG.write({ bytes: 1n << 40n, offset: 0n }), [bench.file(4096)]),
    { protocol: [PROTOCOL_F.LOG_SHMFD] },
  ),
  rejects(
    'inflight-beyond-file',
    'Inflight I/O tracking; SET_INFLIGHT_FD',
    ({ frontend }, bench) =>
      frontend.attempt(
        REQUEST.SET_INFLIGHT_FD,
        INFLIGHT.write({ bytes: 1n << 40n, offset: 0n, queues: 1, queueSize: 64 }),
        [bench.file(4096)],
      ),
    { protocol: [PROTOCOL_F.INFLIGHT_SHMFD] },
  ),
];

/** Starts the ring with something wrong; whichever message is refused. */
async function startWith(
  session: Session,
  wrong: { size?: number; addresses?: (good: VringAddresses) => VringAddresses },
): Promise<Outcome> {
  const { frontend, ring } = session;
  const { size = ring.size, addresses = (good) => good } = wrong;
  const good = VRING_ADDR.read(session.addresses(ring));
  const steps: [number, Uint8Array, number[]?][] = [
    [REQUEST.SET_VRING_NUM, VRING_STATE.write(ring.index, size)],
    [REQUEST.SET_VRING_BASE, VRING_STATE.write(ring.index, 0)],
    [REQUEST.SET_VRING_ADDR, VRING_ADDR.write(addresses(good))],
    [REQUEST.SET_VRING_CALL, U64.write(BigInt(ring.index)), [ring.call]],
    [REQUEST.SET_VRING_KICK, U64.write(BigInt(ring.index)), [ring.kick]],
    [REQUEST.SET_VRING_ENABLE, VRING_STATE.write(ring.index, 1)],
  ];
  for (const [request, payload, fds] of steps) {
    const outcome = await frontend.attempt(request, payload, fds);
    if (outcome !== 'accepted') return outcome;
  }
  return 'accepted';
}

const RINGS = 'Vring address description';
const at = (name: string, change: (good: VringAddresses) => Partial<VringAddresses>): Check =>
  rejects(name, RINGS, (session) => startWith(session, { addresses: (good) => ({ ...good, ...change(good) }) }));

const BAD_RING_CHECKS: readonly Check[] = [
  ...[0, 65, 1 << 17, 0xffff_ffff].map((size) =>
    rejects(`ring-size-${size}`, 'Front-end message types: SET_VRING_NUM; virtio 2.6', (session) =>
      startWith(session, { size }),
    ),
  ),
  at('ring-descriptors-outside', () => ({ descriptors: 0x1000n })),
  at('ring-available-outside', () => ({ available: 0x1000n })),
  at('ring-used-outside', () => ({ used: 0x1000n })),
  at('ring-wraps', () => ({ descriptors: (1n << 64n) - 16n })),
  at('ring-descriptors-misaligned', ({ descriptors }) => ({ descriptors: descriptors + 8n })),
  at('ring-available-misaligned', ({ available }) => ({ available: available + 1n })),
  at('ring-used-misaligned', ({ used }) => ({ used: used + 2n })),
  {
    name: 'ring-across-the-end',
    section: RINGS,
    hostile: true,
    needs: { features: MODERN },
    async run(bench) {
      const session = await bench.open();
      const { user, bytes } = session.memory.region;
      const outcome = await startWith(session, { addresses: (good) => ({ ...good, descriptors: user + bytes - 16n }) });
      refused('the ring', outcome);
    },
  },
  ...(
    [
      [REQUEST.SET_VRING_NUM, VRING_STATE.write(0xffff_ffff, 64)],
      [REQUEST.SET_VRING_BASE, VRING_STATE.write(0xffff_ffff, 0)],
      [REQUEST.GET_VRING_BASE, VRING_STATE.write(0xffff_ffff, 0)],
      [REQUEST.SET_VRING_ENABLE, VRING_STATE.write(0x8000_0000, 1)],
      [
        REQUEST.SET_VRING_ADDR,
        VRING_ADDR.write({ index: 0xffff, flags: 0, descriptors: 0n, used: 0n, available: 0n, log: 0n }),
      ],
      [REQUEST.SET_VRING_KICK, U64.write(BigInt(VRING_NO_FD | 0xff))],
      [REQUEST.SET_VRING_CALL, U64.write(BigInt(VRING_NO_FD | 0xff))],
    ] as const
  ).map(([request, payload]) =>
    rejects(`index-${slug(request)}`, `Front-end message types: ${requestName(request)}`, ({ frontend }) =>
      frontend.attempt(request, payload),
    ),
  ),
];

const FD_SECTION = 'Front-end message types: bit 8, the invalid FD flag';
const DESCRIPTOR_CHECKS: readonly Check[] = [
  ...[REQUEST.SET_VRING_KICK, REQUEST.SET_VRING_CALL, REQUEST.SET_VRING_ERR].flatMap((request) => [
    rejects(`no-descriptor-${slug(request)}`, FD_SECTION, ({ frontend }) => frontend.attempt(request, U64.write(0n))),
    rejects(`surplus-descriptor-${slug(request)}`, FD_SECTION, ({ frontend, ring }) =>
      frontend.attempt(request, U64.write(0n), [ring.kick, ring.kick]),
    ),
    rejects(`unwanted-descriptor-${slug(request)}`, FD_SECTION, ({ frontend, ring }) =>
      frontend.attempt(request, U64.write(BigInt(VRING_NO_FD)), [ring.kick]),
    ),
  ]),
  rejects('surplus-descriptor-set-owner', 'Communication', ({ frontend, ring }) =>
    frontend.attempt(REQUEST.SET_OWNER, NOTHING, [ring.kick]),
  ),
  rejects(
    'no-descriptor-set-backend-req-fd',
    'Front-end message types: SET_BACKEND_REQ_FD',
    ({ frontend }) => frontend.attempt(REQUEST.SET_BACKEND_REQ_FD),
    { protocol: [PROTOCOL_F.BACKEND_REQ] },
  ),
];

const FRAMING_CHECKS: readonly Check[] = [
  ...[0, 2, 3].map((version) =>
    rejects(`version-${version}`, `${MESSAGE}: flags`, ({ frontend }) =>
      frontend.attemptRaw(wire(REQUEST.SET_OWNER, version | 8, 0)),
    ),
  ),
  rejects('reply-unasked-for', `${MESSAGE}: flags`, ({ frontend }) =>
    frontend.attemptRaw(wire(REQUEST.SET_OWNER, VERSION | FLAG_REPLY | 8, 0)),
  ),
  rejects('size-4-gib', MESSAGE, ({ frontend }) =>
    frontend.attemptRaw(wire(REQUEST.SET_FEATURES, VERSION | 8, 0xffff_ffff)),
  ),
  rejects('size-64-kib', MESSAGE, ({ frontend }) =>
    frontend.attemptRaw(wire(REQUEST.SET_FEATURES, VERSION | 8, 1 << 16)),
  ),
  ...[0, 60, 200, 0xffff_ffff].map((request) =>
    rejects(`request-${request}`, 'Front-end message types', ({ frontend }) =>
      frontend.attemptRaw(wire(request, VERSION | 8, 8, new Uint8Array(8))),
    ),
  ),
];

/** Frontends that are no good in ways that need more than a message. */
const BEHAVIOUR_CHECKS: readonly Check[] = [
  {
    name: 'silence-in-header',
    section: MESSAGE,
    hostile: true,
    async run(bench) {
      const frontend = await bench.connect();
      frontend.write(wire(REQUEST.GET_FEATURES, VERSION, 0).subarray(0, HEADER_BYTES - 5));
      await quiet(100);
    },
  },
  {
    name: 'silence-in-payload',
    section: MESSAGE,
    hostile: true,
    async run(bench) {
      const frontend = await bench.connect();
      frontend.write(wire(REQUEST.SET_FEATURES, VERSION, 8, new Uint8Array(3)));
      await quiet(100);
    },
  },
  {
    name: 'flood',
    section: 'Communication',
    hostile: true,
    async run(bench) {
      const frontend = await bench.connect();
      const message = wire(REQUEST.SET_OWNER, VERSION, 0);
      for (let i = 0; i < MESSAGES; i++) {
        if (await frontend.writeSlowly(message)) continue;
        // It may send such a frontend away, but not leave it standing.
        if (frontend.isClosed) return;
        throw new CheckFailed(`${MESSAGES} messages to be taken`, String(i));
      }
      await frontend.writeSlowly(wire(REQUEST.GET_FEATURES, VERSION, 0));
      if ((await frontend.receive()) === undefined) throw new CheckFailed('an answer behind them', 'none');
    },
  },
  {
    name: 'unread-replies',
    section: 'Communication',
    hostile: true,
    async run(bench) {
      const frontend = await bench.connect();
      const message = wire(REQUEST.GET_FEATURES, VERSION, 0);
      // Until what the sockets hold is full on both sides.
      for (let i = 0, failed = 0; i < MESSAGES && failed < 20; i++) {
        if (frontend.write(message)) failed = 0;
        else {
          failed++;
          await quiet(2);
        }
      }
    },
  },
];

/** What no frontend may do. A backend refuses it, or closes the connection, and serves the next one. */
export const HOSTILE_CHECKS: readonly Check[] = [
  ...FRAMING_CHECKS,
  ...SIZE_CHECKS,
  ...DESCRIPTOR_CHECKS,
  ...BAD_RING_CHECKS,
  ...MEMORY_CHECKS,
  ...BEHAVIOUR_CHECKS,
];
