/**
 * The vhost-user protocol: numbers of messages, bits, and how payloads are laid out (QEMU, docs/interop/vhost-user.rst).
 * All integers are little endian here; the protocol says native, and both ends share one machine.
 */

/** Requests that a frontend sends, by name. */
export const REQUEST = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  SET_BACKEND_REQ_FD: 21,
  IOTLB_MSG: 22,
  SET_VRING_ENDIAN: 23,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  CREATE_CRYPTO_SESSION: 26,
  CLOSE_CRYPTO_SESSION: 27,
  POSTCOPY_ADVISE: 28,
  POSTCOPY_LISTEN: 29,
  POSTCOPY_END: 30,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  GPU_SET_SOCKET: 33,
  RESET_DEVICE: 34,
  VRING_KICK: 35,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;

/** Requests that a backend sends on its own channel. */
export const BACKEND_REQUEST = {
  IOTLB_MSG: 1,
  CONFIG_CHANGE_MSG: 2,
  VRING_HOST_NOTIFIER_MSG: 3,
  VRING_CALL: 4,
  VRING_ERR: 5,
} as const;

/** VHOST_USER_PROTOCOL_F_…: bits of SET_PROTOCOL_FEATURES. */
export const PROTOCOL_F = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
} as const;

/** Among the virtio feature bits: the dirty log is on, and the protocol has features of its own. */
export const VHOST_F_LOG_ALL = 26;
export const VHOST_USER_F_PROTOCOL_FEATURES = 30;

/** Header: request, flags, bytes of the payload, u32 each. */
export const HEADER_BYTES = 12;
export const VERSION_MASK = 3;
export const VERSION = 1;
export const FLAG_REPLY = 4;
export const FLAG_NEED_REPLY = 8;
/** The longest payload that is taken: QEMU's and DPDK's longest have some 300 bytes. */
export const PAYLOAD_MAX = 4096;

/** Of the u64 of KICK, CALL and ERR: the queue, and that no descriptor comes. */
export const VRING_INDEX_MASK = 0xff;
export const VRING_NO_FD = 0x100;
/** Of the flags of SET_VRING_ADDR: writes to the used ring are logged. */
export const VRING_F_LOG = 1;
/** Regions of SET_MEM_TABLE at most. */
export const MEM_TABLE_REGIONS_MAX = 8;
/** Bytes of configuration in a message at most. */
export const CONFIG_BYTES_MAX = 256;

/** A stretch of the frontend's memory. */
export interface MemoryRegion {
  /** Where the driver sees it: what descriptors name. */
  readonly guest: bigint;
  readonly bytes: bigint;
  /** Where the frontend's process has it: what SET_VRING_ADDR names. */
  readonly user: bigint;
  /** Where it begins in its file. */
  readonly offset: bigint;
}

/** Where a ring's parts lie, as the frontend's process has them. */
export interface VringAddresses {
  readonly index: number;
  readonly flags: number;
  readonly descriptors: bigint;
  readonly used: bigint;
  readonly available: bigint;
  readonly log: bigint;
}

/** A stretch of a file that both sides map: a dirty log, or what is in flight. */
export interface SharedArea {
  readonly bytes: bigint;
  readonly offset: bigint;
}

/** What GET_INFLIGHT_FD asks for and SET_INFLIGHT_FD brings back. */
export interface InflightArea extends SharedArea {
  readonly queues: number;
  readonly queueSize: number;
}

const REGION_BYTES = 32;

function viewOf(payload: Uint8Array): DataView {
  return new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
}

function made(bytes: number, write: (view: DataView) => void): Uint8Array {
  const payload = new Uint8Array(bytes);
  write(viewOf(payload));
  return payload;
}

/** Payloads by what they hold. `read` is given exactly `bytes` bytes; MEM_TABLE and CONFIG say their own. */
export const U64 = {
  bytes: 8,
  read: (payload: Uint8Array): bigint => viewOf(payload).getBigUint64(0, true),
  write: (value: bigint): Uint8Array => made(8, (view) => view.setBigUint64(0, value, true)),
};

/** A queue's number, and a number for it: its size, base, or whether it is enabled. */
export const VRING_STATE = {
  bytes: 8,
  read: (payload: Uint8Array): { index: number; value: number } => {
    const view = viewOf(payload);
    return { index: view.getUint32(0, true), value: view.getUint32(4, true) };
  },
  write: (index: number, value: number): Uint8Array =>
    made(8, (view) => {
      view.setUint32(0, index, true);
      view.setUint32(4, value, true);
    }),
};

export const VRING_ADDR = {
  bytes: 40,
  read: (payload: Uint8Array): VringAddresses => {
    const view = viewOf(payload);
    return {
      index: view.getUint32(0, true),
      flags: view.getUint32(4, true),
      descriptors: view.getBigUint64(8, true),
      used: view.getBigUint64(16, true),
      available: view.getBigUint64(24, true),
      log: view.getBigUint64(32, true),
    };
  },
  write: ({ index, flags, descriptors, used, available, log }: VringAddresses): Uint8Array =>
    made(40, (view) => {
      view.setUint32(0, index, true);
      view.setUint32(4, flags, true);
      view.setBigUint64(8, descriptors, true);
      view.setBigUint64(16, used, true);
      view.setBigUint64(24, available, true);
      view.setBigUint64(32, log, true);
    }),
};

function readRegion(view: DataView, at: number): MemoryRegion {
  return {
    guest: view.getBigUint64(at, true),
    bytes: view.getBigUint64(at + 8, true),
    user: view.getBigUint64(at + 16, true),
    offset: view.getBigUint64(at + 24, true),
  };
}

function writeRegion(view: DataView, at: number, { guest, bytes, user, offset }: MemoryRegion): void {
  view.setBigUint64(at, guest, true);
  view.setBigUint64(at + 8, bytes, true);
  view.setBigUint64(at + 16, user, true);
  view.setBigUint64(at + 24, offset, true);
}

/** A count, padding, and that many regions; some frontends send room for all eight. */
export const MEM_TABLE = {
  /** Undefined when the count is over 8 or the regions are not all there. */
  read: (payload: Uint8Array): MemoryRegion[] | undefined => {
    if (payload.length < 8) return undefined;
    const view = viewOf(payload);
    const count = view.getUint32(0, true);
    if (count > MEM_TABLE_REGIONS_MAX || payload.length < 8 + count * REGION_BYTES) return undefined;
    return Array.from({ length: count }, (_, i) => readRegion(view, 8 + i * REGION_BYTES));
  },
  write: (regions: readonly MemoryRegion[]): Uint8Array =>
    made(8 + regions.length * REGION_BYTES, (view) => {
      view.setUint32(0, regions.length, true);
      for (const [i, region] of regions.entries()) writeRegion(view, 8 + i * REGION_BYTES, region);
    }),
};

export const SINGLE_REGION = {
  bytes: 8 + REGION_BYTES,
  read: (payload: Uint8Array): MemoryRegion => readRegion(viewOf(payload), 8),
  write: (region: MemoryRegion): Uint8Array => made(8 + REGION_BYTES, (view) => writeRegion(view, 8, region)),
};

export const LOG = {
  bytes: 16,
  read: (payload: Uint8Array): SharedArea => {
    const view = viewOf(payload);
    return { bytes: view.getBigUint64(0, true), offset: view.getBigUint64(8, true) };
  },
  write: ({ bytes, offset }: SharedArea): Uint8Array =>
    made(16, (view) => {
      view.setBigUint64(0, bytes, true);
      view.setBigUint64(8, offset, true);
    }),
};

/** 20 bytes, which C pads to 24: both are sent. */
export const INFLIGHT = {
  bytes: 20,
  paddedBytes: 24,
  read: (payload: Uint8Array): InflightArea => {
    const view = viewOf(payload);
    return {
      ...LOG.read(payload),
      queues: view.getUint16(16, true),
      queueSize: view.getUint16(18, true),
    };
  },
  write: ({ bytes, offset, queues, queueSize }: InflightArea): Uint8Array =>
    made(24, (view) => {
      view.setBigUint64(0, bytes, true);
      view.setBigUint64(8, offset, true);
      view.setUint16(16, queues, true);
      view.setUint16(18, queueSize, true);
    }),
};

/** Offset, size, flags, and as many bytes of the configuration space. */
export const CONFIG = {
  headerBytes: 12,
  /** Undefined when the size is over 256 or the bytes are not all there. */
  read: (payload: Uint8Array): { offset: number; flags: number; data: Uint8Array } | undefined => {
    if (payload.length < 12) return undefined;
    const view = viewOf(payload);
    const size = view.getUint32(4, true);
    if (size > CONFIG_BYTES_MAX || payload.length !== 12 + size) return undefined;
    return { offset: view.getUint32(0, true), flags: view.getUint32(8, true), data: payload.subarray(12) };
  },
  write: (offset: number, flags: number, data: Uint8Array): Uint8Array => {
    const payload = made(12 + data.length, (view) => {
      view.setUint32(0, offset, true);
      view.setUint32(4, data.length, true);
      view.setUint32(8, flags, true);
    });
    payload.set(data, 12);
    return payload;
  },
};

const NAMES = new Map<number, string>(Object.entries(REQUEST).map(([name, number]) => [number, name]));
const BACKEND_NAMES = new Map<number, string>(Object.entries(BACKEND_REQUEST).map(([name, number]) => [number, name]));

/** A request's name, or its number. */
export function requestName(request: number, fromBackend = false): string {
  return (fromBackend ? BACKEND_NAMES : NAMES).get(request) ?? `request ${request}`;
}

/** The names of the protocol feature bits in a mask, lowest first. */
export function protocolFeatureNames(mask: bigint): string[] {
  const names = new Map<number, string>(Object.entries(PROTOCOL_F).map(([name, bit]) => [bit, name]));
  return Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => (mask >> BigInt(bit)) & 1n)
    .map((bit) => names.get(bit) ?? `bit ${bit}`);
}
