import { type FeatureNames, featureNames, hasFeature, VIRTIO_F } from '../virtio/features.ts';
import {
  BACKEND_REQUEST,
  CONFIG,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  INFLIGHT,
  LOG,
  MEM_TABLE,
  type MemoryRegion,
  protocolFeatureNames,
  REQUEST,
  requestName,
  SINGLE_REGION,
  U64,
  VERSION,
  VERSION_MASK,
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VRING_ADDR,
  VRING_F_LOG,
  VRING_INDEX_MASK,
  VRING_NO_FD,
  VRING_STATE,
} from './protocol.ts';

/** A message, as far as it came. */
export interface DescribedMessage {
  readonly request: number;
  readonly flags: number;
  /** What its header says of its payload. */
  readonly size: number;
  /** The payload, or the beginning of one that is too long for any message. */
  readonly payload: Uint8Array;
}

/** What is known beside the message. */
export interface DescribeContext {
  /** Names for the device's own feature bits; without them they are `bit N`. */
  readonly device?: FeatureNames;
  /** What SET_FEATURES negotiated before: a packed ring's base reads otherwise. */
  readonly features?: bigint;
  /** It passed the channel of SET_BACKEND_REQ_FD, where backends ask and frontends reply. */
  readonly backendChannel?: boolean;
  /** What its descriptors are, in order: `/memfd:guest`. */
  readonly fds?: readonly string[];
  /** Of a reply: how long ago it was asked for. */
  readonly afterMs?: number;
}

type Decode = (payload: Uint8Array, context: DescribeContext) => string | undefined;

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
const plural = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;
const bytesText = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** Bytes of an unknown payload that are shown. */
const SHOWN_BYTES = 64;

function sizeText(bytes: bigint): string {
  const unit = (['GiB', 'MiB', 'KiB'] as const).find(
    (_, i) => bytes > 0n && bytes % (1n << BigInt(30 - 10 * i)) === 0n,
  );
  const shift = { GiB: 30n, MiB: 20n, KiB: 10n };
  return unit === undefined ? plural(Number(bytes), 'byte') : `${bytes >> shift[unit]} ${unit}`;
}

const VHOST_BITS: Readonly<Record<string, string>> = {
  [`bit ${VHOST_F_LOG_ALL}`]: 'LOG_ALL',
  [`bit ${VHOST_USER_F_PROTOCOL_FEATURES}`]: 'PROTOCOL_FEATURES',
};

/** `0x140000001: CSUM, VERSION_1`: names without what stands before them in the specification. */
function featureText(mask: bigint, device: FeatureNames | undefined): string {
  const names = featureNames(mask, device).map(
    (name) => VHOST_BITS[name] ?? name.replace(/^VIRTIO_F_/, '').replace(device?.prefix ?? '', ''),
  );
  return `${hex(mask)}: ${names.join(', ') || 'none'}`;
}

const regionText = ({ guest, bytes, user, offset }: MemoryRegion): string =>
  `guest ${hex(guest)} ${sizeText(bytes)} user ${hex(user)} offset ${hex(offset)}`;

const place = (half: number): string => `${half & 0x7fff} wrap ${(half >>> 15) & 1}`;

function baseText(base: number, features = 0n): string {
  if (!hasFeature(features, VIRTIO_F.RING_PACKED)) return `base ${base}`;
  return `base ${hex(base)}: available ${place(base & 0xffff)}, used ${place(base >>> 16)}`;
}

const STATUS_BITS: Readonly<Record<number, string>> = {
  1: 'ACKNOWLEDGE',
  2: 'DRIVER',
  4: 'DRIVER_OK',
  8: 'FEATURES_OK',
  64: 'NEEDS_RESET',
  128: 'FAILED',
};

function statusText(status: bigint): string {
  const names = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit))
    .filter((bit) => status & bit)
    .map((bit) => STATUS_BITS[Number(bit)] ?? hex(bit));
  return `${hex(status)}: ${names.join(' ') || 'reset'}`;
}

/** A decoder for payloads of exactly `bytes` bytes. */
const exactly =
  (bytes: number, text: Decode): Decode =>
  (payload, context) =>
    payload.length === bytes ? text(payload, context) : undefined;

const nothing = exactly(0, () => '');
const u64 = (text: (value: bigint, context: DescribeContext) => string): Decode =>
  exactly(U64.bytes, (payload, context) => text(U64.read(payload), context));
const features = u64((mask, { device }) => featureText(mask, device));
const protocolFeatures = u64((mask) => `${hex(mask)}: ${protocolFeatureNames(mask).join(', ') || 'none'}`);
const count = (what: string): Decode => u64((value) => `${value} ${what}`);
const status = u64(statusText);
const ringState = (text: (value: number, context: DescribeContext) => string): Decode =>
  exactly(VRING_STATE.bytes, (payload, context) => {
    const { index, value } = VRING_STATE.read(payload);
    const rest = text(value, context);
    return rest === '' ? `queue ${index}` : `queue ${index} ${rest}`;
  });
const base = ringState((value, context) => baseText(value, context.features));
const ringFd = u64((value) => {
  const rest = value & ~BigInt(VRING_INDEX_MASK | VRING_NO_FD);
  const strange = rest === 0n ? '' : `, unknown bits ${hex(rest)}`;
  return `queue ${Number(value) & VRING_INDEX_MASK}${value & BigInt(VRING_NO_FD) ? ', no descriptor' : ''}${strange}`;
});
const region = exactly(SINGLE_REGION.bytes, (payload) => regionText(SINGLE_REGION.read(payload)));

const ringAddresses = exactly(VRING_ADDR.bytes, (payload) => {
  const { index, flags, descriptors, available, used, log } = VRING_ADDR.read(payload);
  const logged = flags & VRING_F_LOG ? ` logged at ${hex(log)}` : '';
  const strange = flags & ~VRING_F_LOG ? ` flags ${hex(flags)}` : '';
  return `queue ${index} descriptors ${hex(descriptors)} available ${hex(available)} used ${hex(used)}${logged}${strange}`;
});

const memoryTable: Decode = (payload) => {
  const regions = MEM_TABLE.read(payload);
  if (regions === undefined) return undefined;
  return [plural(regions.length, 'region'), ...regions.map(regionText)].join('; ');
};

const log: Decode = (payload) => {
  if (payload.length === U64.bytes) return `at ${hex(U64.read(payload))}`;
  if (payload.length !== LOG.bytes) return undefined;
  const { bytes, offset } = LOG.read(payload);
  return `${sizeText(bytes)} offset ${hex(offset)}`;
};

const inflight: Decode = (payload) => {
  if (payload.length !== INFLIGHT.bytes && payload.length !== INFLIGHT.paddedBytes) return undefined;
  const { bytes, offset, queues, queueSize } = INFLIGHT.read(payload);
  return `${plural(queues, 'queue')} of ${queueSize}, ${sizeText(bytes)} offset ${hex(offset)}`;
};

const config: Decode = (payload) => {
  const found = CONFIG.read(payload);
  if (found === undefined) return undefined;
  const { offset, flags, data } = found;
  return `${plural(data.length, 'byte')} at ${offset}${flags === 0 ? '' : ` flags ${hex(flags)}`}: ${bytesText(data)}`;
};

/** struct vhost_iotlb_msg: iova, size and address u64, permissions and type u8, padded by C. */
const iotlb: Decode = (payload) => {
  if (payload.length < 26 || payload.length > 32) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset);
  const at = (offset: number): bigint => view.getBigUint64(offset, true);
  const access = ['no access', 'read', 'write', 'read and write'][view.getUint8(24)] ?? 'unknown access';
  const type = ['unknown', 'miss', 'update', 'invalidate', 'access fail'][view.getUint8(25)] ?? 'unknown';
  return `${type} iova ${hex(at(0))} ${sizeText(at(8))} user ${hex(at(16))} ${access}`;
};

/** A ring's area: what KICK has, then its size and offset. */
const area = exactly(24, (payload, context) => {
  const view = new DataView(payload.buffer, payload.byteOffset);
  const where = `${sizeText(view.getBigUint64(8, true))} offset ${hex(view.getBigUint64(16, true))}`;
  return `${ringFd(payload.subarray(0, 8), context)} ${where}`;
});

/** What a request holds, and its reply where that is no plain success or failure. */
interface Form {
  readonly ask: Decode;
  readonly reply?: Decode;
}

const R = REQUEST;
const FORMS: Readonly<Record<number, Form>> = {
  [R.GET_FEATURES]: { ask: nothing, reply: features },
  [R.SET_FEATURES]: { ask: features },
  [R.SET_OWNER]: { ask: nothing },
  [R.RESET_OWNER]: { ask: nothing },
  [R.SET_MEM_TABLE]: { ask: memoryTable },
  [R.SET_LOG_BASE]: { ask: log, reply: (payload) => (payload.length === 0 ? 'ok' : acknowledgement(payload)) },
  // The specification has no payload, QEMU and libvhost-user send a u64.
  [R.SET_LOG_FD]: { ask: (payload) => (payload.length === 0 || payload.length === U64.bytes ? '' : undefined) },
  [R.SET_VRING_NUM]: { ask: ringState((value) => `size ${value}`) },
  [R.SET_VRING_ADDR]: { ask: ringAddresses },
  [R.SET_VRING_BASE]: { ask: base },
  [R.GET_VRING_BASE]: { ask: ringState(() => ''), reply: base },
  [R.SET_VRING_KICK]: { ask: ringFd },
  [R.SET_VRING_CALL]: { ask: ringFd },
  [R.SET_VRING_ERR]: { ask: ringFd },
  [R.GET_PROTOCOL_FEATURES]: { ask: nothing, reply: protocolFeatures },
  [R.SET_PROTOCOL_FEATURES]: { ask: protocolFeatures },
  [R.GET_QUEUE_NUM]: { ask: nothing, reply: count('queues') },
  [R.SET_VRING_ENABLE]: { ask: ringState((value) => (value === 1 ? 'on' : value === 0 ? 'off' : String(value))) },
  [R.SEND_RARP]: {
    ask: exactly(U64.bytes, (payload) => (bytesText(payload.subarray(0, 6)).match(/../g) ?? []).join(':')),
  },
  [R.NET_SET_MTU]: { ask: u64((mtu) => `mtu ${mtu}`) },
  [R.SET_BACKEND_REQ_FD]: { ask: nothing },
  [R.IOTLB_MSG]: { ask: iotlb },
  [R.SET_VRING_ENDIAN]: { ask: ringState((value) => ['little', 'big'][value] ?? String(value)) },
  [R.GET_CONFIG]: {
    ask: config,
    reply: (payload, context) => (payload.length === 0 ? 'refused' : config(payload, context)),
  },
  [R.SET_CONFIG]: { ask: config },
  [R.CLOSE_CRYPTO_SESSION]: { ask: u64((id) => `session ${id}`) },
  [R.POSTCOPY_ADVISE]: { ask: nothing, reply: (payload) => (payload.length <= U64.bytes ? '' : undefined) },
  [R.POSTCOPY_LISTEN]: { ask: nothing },
  [R.POSTCOPY_END]: { ask: nothing },
  [R.GET_INFLIGHT_FD]: { ask: inflight, reply: inflight },
  [R.SET_INFLIGHT_FD]: { ask: inflight },
  [R.GPU_SET_SOCKET]: { ask: nothing },
  [R.RESET_DEVICE]: { ask: nothing },
  [R.VRING_KICK]: { ask: ringState(() => '') },
  [R.GET_MAX_MEM_SLOTS]: { ask: nothing, reply: count('slots') },
  [R.ADD_MEM_REG]: { ask: region, reply: (payload, context) => region(payload, context) ?? acknowledgement(payload) },
  [R.REM_MEM_REG]: { ask: region },
  [R.SET_STATUS]: { ask: status },
  [R.GET_STATUS]: { ask: nothing, reply: status },
};

const B = BACKEND_REQUEST;
const BACKEND_FORMS: Readonly<Record<number, Form>> = {
  [B.IOTLB_MSG]: { ask: iotlb },
  [B.CONFIG_CHANGE_MSG]: { ask: nothing },
  [B.VRING_HOST_NOTIFIER_MSG]: { ask: area },
  [B.VRING_CALL]: { ask: ringState(() => '') },
  [B.VRING_ERR]: { ask: ringState(() => '') },
};

function acknowledgement(payload: Uint8Array): string | undefined {
  if (payload.length !== U64.bytes) return undefined;
  const value = U64.read(payload);
  return value === 0n ? 'ok' : `refused (${BigInt.asIntN(64, value)})`;
}

function payloadText(message: DescribedMessage, context: DescribeContext): string {
  const { request, flags, size, payload } = message;
  const shown = `${plural(size, 'byte')} ${bytesText(payload.subarray(0, SHOWN_BYTES))}${size > SHOWN_BYTES ? '…' : ''}`;
  const isReply = (flags & FLAG_REPLY) !== 0;
  const form = (context.backendChannel ? BACKEND_FORMS : FORMS)[request];
  if (form === undefined) return size === 0 ? '' : shown;
  const decode = isReply ? (form.reply ?? acknowledgement) : form.ask;
  const text = size === payload.length ? decode(payload, context) : undefined;
  // A backend may answer with a plain failure what it could not do.
  const failure = text === undefined && isReply && size === payload.length ? acknowledgement(payload) : undefined;
  return text ?? failure ?? `malformed: ${shown} is no payload of it`;
}

/** What a message says, in one line: its name, flags, payload, descriptors. */
export function describeMessage(message: DescribedMessage, context: DescribeContext = {}): string {
  const { request, flags } = message;
  const { fds = [], afterMs, backendChannel = false } = context;
  const isReply = (flags & FLAG_REPLY) !== 0;
  const words = [
    requestName(request, backendChannel),
    isReply ? 'reply' : '',
    flags & FLAG_NEED_REPLY ? 'need_reply' : '',
    flags & ~(VERSION_MASK | FLAG_REPLY | FLAG_NEED_REPLY) ? `flags ${hex(flags)}` : '',
    payloadText(message, context),
    (flags & VERSION_MASK) === VERSION ? '' : `malformed: version ${flags & VERSION_MASK}, must be ${VERSION}`,
    fds.length === 0 ? '' : `[${plural(fds.length, 'fd')}: ${fds.join(', ')}]`,
    afterMs === undefined ? '' : `(after ${afterMs.toFixed(3)} ms)`,
  ];
  return words.filter((word) => word !== '').join(' ');
}
