import { featureMask } from '../virtio/features.ts';
import { VIRTIO_REGIONS_MAX } from '../virtio/layout.ts';
import type { BackendState } from './backend-state.ts';
import { Channel, type Message } from './channel.ts';
import { type Answer, answer, bad, type Handled, type Handler, hex } from './handler.ts';
import {
  CONFIG,
  INFLIGHT,
  LOG,
  MEM_TABLE,
  PROTOCOL_F,
  protocolFeatureNames,
  REQUEST,
  SINGLE_REGION,
  U64,
} from './protocol.ts';
import { RING_HANDLERS } from './ring-handlers.ts';

const STATUS_MAX = 0xffn;
const MTU_MAX = 65535n;

function configOf(state: BackendState, message: Message) {
  const found = CONFIG.read(message.payload);
  if (found === undefined) throw bad(state, message, 'its size does not match its payload, 256 bytes at most');
  return found;
}

/** C pads the structure, and some frontends send the padding. */
function inflightOf(state: BackendState, message: Message) {
  const { payload } = message;
  if (payload.length !== INFLIGHT.bytes && payload.length !== INFLIGHT.paddedBytes) {
    throw bad(state, message, `size=${payload.length}, must be ${INFLIGHT.bytes} or ${INFLIGHT.paddedBytes}`);
  }
  return INFLIGHT.read(payload);
}

/** Every request that is offered. */
const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [REQUEST.GET_FEATURES, { bytes: 0, fds: 0, handle: (state) => answer(U64.write(state.offered)) }],
  [
    REQUEST.SET_FEATURES,
    {
      bytes: 8,
      fds: 0,
      handle(state, { payload }) {
        state.setFeatures(U64.read(payload));
      },
    },
  ],
  [REQUEST.GET_PROTOCOL_FEATURES, { bytes: 0, fds: 0, handle: (state) => answer(U64.write(state.offeredProtocol)) }],
  [
    REQUEST.SET_PROTOCOL_FEATURES,
    {
      bytes: 8,
      fds: 0,
      handle(state, { payload }) {
        state.setProtocolFeatures(U64.read(payload));
      },
    },
  ],
  [REQUEST.SET_OWNER, { bytes: 0, fds: 0, handle: () => undefined }],
  [
    REQUEST.RESET_OWNER,
    {
      bytes: 0,
      fds: 0,
      // Frontends that still send it rely on nothing more, and some on the rest staying as it is.
      handle(state) {
        for (const ring of state.rings) state.enable(ring, false);
      },
    },
  ],
  [
    REQUEST.RESET_DEVICE,
    {
      bytes: 0,
      fds: 0,
      needs: PROTOCOL_F.RESET_DEVICE,
      async handle(state) {
        await state.reset();
      },
    },
  ],
  [
    REQUEST.GET_QUEUE_NUM,
    { bytes: 0, fds: 0, needs: PROTOCOL_F.MQ, handle: (state) => answer(U64.write(BigInt(state.device.queueNum))) },
  ],

  // ---------------------------------------------------------------- memory
  [
    REQUEST.SET_MEM_TABLE,
    {
      async handle(state, message) {
        const { payload, fds } = message;
        const regions = MEM_TABLE.read(payload);
        if (regions === undefined) {
          throw bad(state, message, `size=${payload.length} does not hold its regions, 8 at most`);
        }
        if (regions.length !== fds.length) {
          throw bad(state, message, `${regions.length} regions and ${fds.length} descriptors`);
        }
        await state.changeMemory(() => state.windows.set(regions, fds));
      },
    },
  ],
  [
    REQUEST.GET_MAX_MEM_SLOTS,
    {
      bytes: 0,
      fds: 0,
      needs: PROTOCOL_F.CONFIGURE_MEM_SLOTS,
      handle: () => answer(U64.write(BigInt(VIRTIO_REGIONS_MAX))),
    },
  ],
  [
    REQUEST.ADD_MEM_REG,
    {
      bytes: SINGLE_REGION.bytes,
      fds: 1,
      needs: PROTOCOL_F.CONFIGURE_MEM_SLOTS,
      async handle(state, { payload, fds: [fd = -1] }) {
        await state.changeMemory(() => state.windows.add(SINGLE_REGION.read(payload), fd));
      },
    },
  ],
  [
    REQUEST.REM_MEM_REG,
    {
      bytes: SINGLE_REGION.bytes,
      needs: PROTOCOL_F.CONFIGURE_MEM_SLOTS,
      async handle(state, message) {
        // Some frontends send the region's descriptor along.
        if (message.fds.length > 1) throw bad(state, message, `${message.fds.length} descriptors, at most 1`);
        const region = SINGLE_REGION.read(message.payload);
        await state.changeMemory(() => {
          if (state.windows.remove(region)) return;
          throw bad(state, message, `no region of ${region.bytes} bytes at ${hex(region.guest)}`);
        });
      },
    },
  ],

  [
    REQUEST.SET_LOG_BASE,
    {
      bytes: LOG.bytes,
      fds: 1,
      needs: PROTOCOL_F.LOG_SHMFD,
      async handle(state, { payload, fds: [fd = -1] }) {
        await state.setLogFile(fd, LOG.read(payload));
        // QEMU waits for an answer, and for no payload in it.
        return answer(new Uint8Array(0));
      },
    },
  ],
  // An eventfd for whoever wants to know that something was logged: QEMU does not, and looks by itself.
  [REQUEST.SET_LOG_FD, { fds: 1, handle: () => undefined }],
  [
    REQUEST.GET_INFLIGHT_FD,
    {
      fds: 0,
      needs: PROTOCOL_F.INFLIGHT_SHMFD,
      handle(state, message) {
        const { fd, area } = state.inflight.make(state.layout, inflightOf(state, message));
        return { payload: INFLIGHT.write(area), fd };
      },
    },
  ],
  [
    REQUEST.SET_INFLIGHT_FD,
    {
      fds: 1,
      needs: PROTOCOL_F.INFLIGHT_SHMFD,
      async handle(state, message) {
        const area = inflightOf(state, message);
        const [fd = -1] = message.fds;
        await state.changeMemory(() => state.inflight.use(fd, area, state.layout));
      },
    },
  ],
  ...RING_HANDLERS,

  // ---------------------------------------------------------------- the device
  [
    REQUEST.SEND_RARP,
    {
      bytes: U64.bytes,
      fds: 0,
      needs: PROTOCOL_F.RARP,
      handle(state, { payload }) {
        state.device.sendRarp?.(payload.slice(0, 6));
      },
    },
  ],
  [
    REQUEST.NET_SET_MTU,
    {
      bytes: U64.bytes,
      fds: 0,
      needs: PROTOCOL_F.MTU,
      handle(state, message) {
        const mtu = U64.read(message.payload);
        if (mtu <= MTU_MAX && state.device.setMtu?.(Number(mtu)) === true) return;
        throw bad(state, message, `mtu=${mtu} is not possible`);
      },
    },
  ],
  [
    REQUEST.SET_BACKEND_REQ_FD,
    {
      fds: 1,
      needs: PROTOCOL_F.BACKEND_REQ,
      handle(state, { keep, fds: [fd = -1] }) {
        state.requests?.close();
        state.requests = new Channel(keep(fd), state.name);
      },
    },
  ],
  [
    REQUEST.GET_CONFIG,
    {
      fds: 0,
      needs: PROTOCOL_F.CONFIG,
      handle(state, message) {
        const { offset, flags, data } = configOf(state, message);
        // No bytes say that there is no such place.
        return answer(CONFIG.write(offset, flags, state.device.config.read(offset, data.length) ?? new Uint8Array(0)));
      },
    },
  ],
  [
    REQUEST.SET_CONFIG,
    {
      fds: 0,
      needs: PROTOCOL_F.CONFIG,
      handle(state, message) {
        const { offset, data } = configOf(state, message);
        const { device } = state;
        if (device.config.contains(offset, data.length) && device.writeConfig?.(offset, data) === true) return;
        throw bad(state, message, `${data.length} bytes at ${offset} may not be written`);
      },
    },
  ],
  [
    REQUEST.SET_STATUS,
    {
      bytes: U64.bytes,
      fds: 0,
      needs: PROTOCOL_F.STATUS,
      handle(state, message) {
        const status = U64.read(message.payload);
        if (status > STATUS_MAX) throw bad(state, message, `status=${hex(status)}, at most 0xff`);
        state.status = Number(status);
      },
    },
  ],
  [
    REQUEST.GET_STATUS,
    { bytes: 0, fds: 0, needs: PROTOCOL_F.STATUS, handle: (state) => answer(U64.write(BigInt(state.status))) },
  ],
]);

/**
 * Handles a message.
 * @throws RingwayError `BAD_ARGUMENT` for one that breaks a rule.
 */
export async function handle(state: BackendState, message: Handled): Promise<Answer> {
  const handler = HANDLERS.get(message.request);
  if (handler === undefined) throw bad(state, message, 'is not offered');
  const { bytes, fds, needs } = handler;
  if (bytes !== undefined && message.payload.length !== bytes) {
    throw bad(state, message, `size=${message.payload.length}, must be ${bytes}`);
  }
  if (fds !== undefined && message.fds.length !== fds) {
    throw bad(state, message, `${message.fds.length} descriptors, must be ${fds}`);
  }
  if (needs !== undefined && !state.has(needs)) {
    throw bad(state, message, `needs ${protocolFeatureNames(featureMask(needs)).join()}, which was not negotiated`);
  }
  return handler.handle(state, message);
}
