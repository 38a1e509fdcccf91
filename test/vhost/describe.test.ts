import { expect, test } from 'vitest';
import { type DescribeContext, describeMessage } from '#build/vhost/describe.js';
import {
  BACKEND_REQUEST,
  CONFIG,
  INFLIGHT,
  LOG,
  MEM_TABLE,
  REQUEST,
  SINGLE_REGION,
  U64,
  VRING_ADDR,
  VRING_STATE,
} from '#build/vhost/protocol.js';
import { VIRTIO_F } from '#build/virtio/features.js';
import { NET_FEATURE_NAMES } from '#build/virtio/net-features.js';

const [ASK, NEED, REPLY] = [1, 9, 5];
const PACKED = { features: 1n << BigInt(VIRTIO_F.RING_PACKED) };
const NOTHING: Uint8Array = new Uint8Array(0);
const region = { guest: 0x4000_0000n, bytes: 256n << 20n, user: 0x7f00_0000_0000n, offset: 0x1000n };
const addresses = { index: 1, flags: 0, descriptors: 0x1000n, used: 0x3000n, available: 0x2000n, log: 0x9000n };
const iotlb = new Uint8Array(32);
iotlb.set([0, 0x10], 0);
iotlb.set([0, 0x20], 8);
iotlb.set([3, 2], 24);
const area = new Uint8Array(24);
area.set(U64.write(0x101n));
area.set(U64.write(4096n), 8);

function text(request: number, payload = NOTHING, flags = ASK, context: DescribeContext = {}): string {
  return describeMessage({ request, flags, size: payload.length, payload }, context);
}

const net = { device: NET_FEATURE_NAMES };
const LINES: readonly (readonly [string, number, Uint8Array?, number?, DescribeContext?])[] = [
  ['GET_FEATURES', REQUEST.GET_FEATURES],
  [
    'GET_FEATURES reply 0x144000021: CSUM, MAC, LOG_ALL, PROTOCOL_FEATURES, VERSION_1 (after 0.250 ms)',
    REQUEST.GET_FEATURES,
    U64.write(0x1_4400_0021n),
    REPLY,
    { ...net, afterMs: 0.25 },
  ],
  ['GET_FEATURES reply 0x21: bit 0, bit 5', REQUEST.GET_FEATURES, U64.write(0x21n), REPLY],
  ['SET_FEATURES 0x0: none', REQUEST.SET_FEATURES, U64.write(0n)],
  ['SET_OWNER need_reply', REQUEST.SET_OWNER, NOTHING, NEED],
  ['SET_OWNER reply ok', REQUEST.SET_OWNER, U64.write(0n), REPLY],
  ['SET_OWNER reply refused (-1)', REQUEST.SET_OWNER, U64.write((1n << 64n) - 1n), REPLY],
  ['RESET_OWNER', REQUEST.RESET_OWNER],
  [
    'SET_MEM_TABLE 1 region; guest 0x40000000 256 MiB user 0x7f0000000000 offset 0x1000 [1 fd: /memfd:guest]',
    REQUEST.SET_MEM_TABLE,
    MEM_TABLE.write([region]),
    ASK,
    { fds: ['/memfd:guest'] },
  ],
  ['SET_LOG_BASE 16 KiB offset 0x0', REQUEST.SET_LOG_BASE, LOG.write({ bytes: 16384n, offset: 0n })],
  ['SET_LOG_BASE at 0x10', REQUEST.SET_LOG_BASE, U64.write(16n)],
  ['SET_LOG_BASE reply ok', REQUEST.SET_LOG_BASE, NOTHING, REPLY],
  ['SET_LOG_FD [1 fd: eventfd]', REQUEST.SET_LOG_FD, NOTHING, ASK, { fds: ['eventfd'] }],
  ['SET_VRING_NUM queue 1 size 256', REQUEST.SET_VRING_NUM, VRING_STATE.write(1, 256)],
  [
    'SET_VRING_ADDR queue 1 descriptors 0x1000 available 0x2000 used 0x3000',
    REQUEST.SET_VRING_ADDR,
    VRING_ADDR.write(addresses),
  ],
  [
    'SET_VRING_ADDR queue 1 descriptors 0x1000 available 0x2000 used 0x3000 logged at 0x9000 flags 0x3',
    REQUEST.SET_VRING_ADDR,
    VRING_ADDR.write({ ...addresses, flags: 3 }),
  ],
  ['SET_VRING_BASE queue 0 base 17', REQUEST.SET_VRING_BASE, VRING_STATE.write(0, 17)],
  [
    'SET_VRING_BASE queue 0 base 0x80050007: available 7 wrap 0, used 5 wrap 1',
    REQUEST.SET_VRING_BASE,
    VRING_STATE.write(0, 0x8005_0007),
    ASK,
    PACKED,
  ],
  ['GET_VRING_BASE queue 3', REQUEST.GET_VRING_BASE, VRING_STATE.write(3, 0)],
  ['GET_VRING_BASE reply queue 3 base 9', REQUEST.GET_VRING_BASE, VRING_STATE.write(3, 9), REPLY],
  ['SET_VRING_KICK queue 2', REQUEST.SET_VRING_KICK, U64.write(2n)],
  ['SET_VRING_CALL queue 2, no descriptor', REQUEST.SET_VRING_CALL, U64.write(0x102n)],
  ['SET_VRING_ERR queue 2, unknown bits 0x400', REQUEST.SET_VRING_ERR, U64.write(0x402n)],
  ['GET_PROTOCOL_FEATURES', REQUEST.GET_PROTOCOL_FEATURES],
  ['GET_PROTOCOL_FEATURES reply 0x9: MQ, REPLY_ACK', REQUEST.GET_PROTOCOL_FEATURES, U64.write(9n), REPLY],
  ['SET_PROTOCOL_FEATURES 0x100000: bit 20', REQUEST.SET_PROTOCOL_FEATURES, U64.write(1n << 20n)],
  ['GET_QUEUE_NUM reply 2 queues', REQUEST.GET_QUEUE_NUM, U64.write(2n), REPLY],
  ['SET_VRING_ENABLE queue 0 on', REQUEST.SET_VRING_ENABLE, VRING_STATE.write(0, 1)],
  ['SET_VRING_ENABLE queue 0 off', REQUEST.SET_VRING_ENABLE, VRING_STATE.write(0, 0)],
  ['SEND_RARP 02:00:00:00:00:07', REQUEST.SEND_RARP, Uint8Array.of(2, 0, 0, 0, 0, 7, 0, 0)],
  ['NET_SET_MTU mtu 1500', REQUEST.NET_SET_MTU, U64.write(1500n)],
  ['SET_BACKEND_REQ_FD [1 fd: socket:[7]]', REQUEST.SET_BACKEND_REQ_FD, NOTHING, ASK, { fds: ['socket:[7]'] }],
  ['IOTLB_MSG update iova 0x1000 8 KiB user 0x0 read and write', REQUEST.IOTLB_MSG, iotlb],
  ['SET_VRING_ENDIAN queue 0 big', REQUEST.SET_VRING_ENDIAN, VRING_STATE.write(0, 1)],
  ['GET_CONFIG 2 bytes at 8: 0000', REQUEST.GET_CONFIG, CONFIG.write(8, 0, new Uint8Array(2))],
  ['GET_CONFIG reply 2 bytes at 8: ab01', REQUEST.GET_CONFIG, CONFIG.write(8, 0, Uint8Array.of(0xab, 1)), REPLY],
  ['GET_CONFIG reply refused', REQUEST.GET_CONFIG, NOTHING, REPLY],
  ['SET_CONFIG 1 byte at 8 flags 0x1: ab', REQUEST.SET_CONFIG, CONFIG.write(8, 1, Uint8Array.of(0xab))],
  ['CREATE_CRYPTO_SESSION 3 bytes 010203', REQUEST.CREATE_CRYPTO_SESSION, Uint8Array.of(1, 2, 3)],
  ['CLOSE_CRYPTO_SESSION session 4', REQUEST.CLOSE_CRYPTO_SESSION, U64.write(4n)],
  ['POSTCOPY_ADVISE', REQUEST.POSTCOPY_ADVISE],
  ['POSTCOPY_LISTEN', REQUEST.POSTCOPY_LISTEN],
  ['POSTCOPY_END reply ok', REQUEST.POSTCOPY_END, U64.write(0n), REPLY],
  [
    'GET_INFLIGHT_FD reply 4 queues of 256, 17 KiB offset 0x0',
    REQUEST.GET_INFLIGHT_FD,
    INFLIGHT.write({ bytes: 17408n, offset: 0n, queues: 4, queueSize: 256 }),
    REPLY,
  ],
  [
    'SET_INFLIGHT_FD 1 queue of 8, 1 byte offset 0x40',
    REQUEST.SET_INFLIGHT_FD,
    INFLIGHT.write({ bytes: 1n, offset: 64n, queues: 1, queueSize: 8 }).subarray(0, 20),
  ],
  ['GPU_SET_SOCKET', REQUEST.GPU_SET_SOCKET],
  ['RESET_DEVICE', REQUEST.RESET_DEVICE],
  ['VRING_KICK queue 1', REQUEST.VRING_KICK, VRING_STATE.write(1, 0)],
  ['GET_MAX_MEM_SLOTS reply 32 slots', REQUEST.GET_MAX_MEM_SLOTS, U64.write(32n), REPLY],
  [
    'ADD_MEM_REG guest 0x40000000 256 MiB user 0x7f0000000000 offset 0x1000',
    REQUEST.ADD_MEM_REG,
    SINGLE_REGION.write(region),
  ],
  ['ADD_MEM_REG reply ok', REQUEST.ADD_MEM_REG, U64.write(0n), REPLY],
  [
    'REM_MEM_REG guest 0x40000000 256 MiB user 0x7f0000000000 offset 0x1000',
    REQUEST.REM_MEM_REG,
    SINGLE_REGION.write(region),
  ],
  ['SET_STATUS 0xf: ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK', REQUEST.SET_STATUS, U64.write(15n)],
  ['SET_STATUS 0x0: reset', REQUEST.SET_STATUS, U64.write(0n)],
  ['GET_STATUS reply 0x110: 0x10 0x100', REQUEST.GET_STATUS, U64.write(0x110n), REPLY],
];

test.each(LINES.map((each) => ({ each })))('$each.0', ({ each: [line, request, payload, flags, context] }) => {
  expect(text(request, payload, flags, context)).toBe(line);
});

test('every request is decoded', () => {
  const tried = new Set(LINES.map(([, request]) => request));
  expect(Object.entries(REQUEST).filter(([, request]) => !tried.has(request))).toEqual([]);
});

test.each([
  ['IOTLB_MSG update iova 0x1000 8 KiB user 0x0 read and write', BACKEND_REQUEST.IOTLB_MSG, iotlb],
  ['CONFIG_CHANGE_MSG', BACKEND_REQUEST.CONFIG_CHANGE_MSG, NOTHING],
  ['VRING_HOST_NOTIFIER_MSG queue 1, no descriptor 4 KiB offset 0x0', BACKEND_REQUEST.VRING_HOST_NOTIFIER_MSG, area],
  ['VRING_CALL queue 1', BACKEND_REQUEST.VRING_CALL, VRING_STATE.write(1, 0)],
  ['VRING_ERR queue 1', BACKEND_REQUEST.VRING_ERR, VRING_STATE.write(1, 0)],
])('of a backend: %s', (line, request, payload) => {
  expect(text(request, payload, ASK, { backendChannel: true })).toBe(line);
});

test('what is no message is said to be none', () => {
  expect(text(REQUEST.SET_VRING_NUM, Uint8Array.of(1, 2))).toBe(
    'SET_VRING_NUM malformed: 2 bytes 0102 is no payload of it',
  );
  expect(text(99, Uint8Array.of(1))).toBe('request 99 1 byte 01');
  expect(text(REQUEST.SET_OWNER, NOTHING, 0x102)).toBe('SET_OWNER flags 0x102 malformed: version 2, must be 1');
  const cut = describeMessage({ request: REQUEST.SET_FEATURES, flags: 1, size: 8, payload: new Uint8Array(3) });
  expect(cut).toBe('SET_FEATURES malformed: 8 bytes 000000 is no payload of it');
  const long = describeMessage({ request: 5, flags: 1, size: 2 ** 32 - 1, payload: new Uint8Array(100) });
  expect(long).toBe(`SET_MEM_TABLE malformed: 4294967295 bytes ${'00'.repeat(64)}… is no payload of it`);
});

test('no bytes make it fail', () => {
  for (let request = 0; request < 64; request++) {
    for (let size = 0; size < 300; size += 4) {
      for (const flags of [ASK, REPLY]) {
        for (const backendChannel of [false, true]) {
          const line = text(request, new Uint8Array(size).fill(0xff), flags, { backendChannel, ...PACKED });
          expect(line).not.toMatch(/\n|undefined|NaN/);
        }
      }
    }
  }
});
