import { requireSockets } from '../sys/index.ts';
import type { BackendState } from './backend-state.ts';
import type { Message } from './channel.ts';
import { answer, bad, type Handled, type Handler, hex } from './handler.ts';
import { REQUEST, U64, VRING_ADDR, VRING_INDEX_MASK, VRING_NO_FD, VRING_STATE } from './protocol.ts';
import type { VhostRing } from './ring.ts';

/** Bits of KICK, CALL and ERR that mean something. */
const VRING_FD_BITS = 9n;

function ringOf(state: BackendState, message: Message, index: number): VhostRing {
  const ring = state.rings[index];
  if (ring === undefined) throw bad(state, message, `queue ${index}, there are ${state.rings.length}`);
  return ring;
}

/** A ring and a number for it. */
function ringState(
  state: BackendState,
  message: Message,
  mayRun: boolean,
): { readonly ring: VhostRing; readonly value: number } {
  const { index, value } = VRING_STATE.read(message.payload);
  const ring = ringOf(state, message, index);
  if (ring.started && !mayRun) throw bad(state, message, `queue ${index} runs; GET_VRING_BASE stops it`);
  return { ring, value };
}

/** The ring of KICK, CALL or ERR, and the eventfd for it; -1 when the frontend has none. */
function ringFd(state: BackendState, message: Handled): { readonly ring: VhostRing; readonly fd: number } {
  const value = U64.read(message.payload);
  if (value >> VRING_FD_BITS) throw bad(state, message, `${hex(value)}, only bits 0 to 8 mean something`);
  const ring = ringOf(state, message, Number(value) & VRING_INDEX_MASK);
  const wanted = value & BigInt(VRING_NO_FD) ? 0 : 1;
  if (message.fds.length !== wanted) {
    throw bad(state, message, `${hex(value)} with ${message.fds.length} descriptors, must be ${wanted}`);
  }
  const [fd = -1] = message.fds;
  if (fd !== -1 && !requireSockets(state.name).adoptEventfd(fd)) {
    throw bad(state, message, `queue ${ring.index}: the descriptor is no eventfd`);
  }
  return { ring, fd: fd === -1 ? -1 : message.keep(fd) };
}

/** The requests about one ring. */
export const RING_HANDLERS: readonly (readonly [number, Handler])[] = [
  [
    REQUEST.SET_VRING_NUM,
    {
      bytes: VRING_STATE.bytes,
      fds: 0,
      handle(state, message) {
        const { ring, value } = ringState(state, message, false);
        const { queueSize } = state.device;
        if (value < 1 || value > queueSize) {
          throw bad(state, message, `queue ${ring.index}: num=${value}, must be 1 to ${queueSize}`);
        }
        ring.size = value;
      },
    },
  ],
  [
    REQUEST.SET_VRING_BASE,
    {
      bytes: VRING_STATE.bytes,
      fds: 0,
      handle(state, message) {
        const { ring, value } = ringState(state, message, false);
        ring.base = value;
      },
    },
  ],
  [
    REQUEST.SET_VRING_ADDR,
    {
      bytes: VRING_ADDR.bytes,
      fds: 0,
      async handle(state, message) {
        const addresses = VRING_ADDR.read(message.payload);
        await state.setAddresses(ringOf(state, message, addresses.index), addresses);
      },
    },
  ],
  [
    REQUEST.GET_VRING_BASE,
    {
      bytes: VRING_STATE.bytes,
      fds: 0,
      async handle(state, message) {
        const { ring } = ringState(state, message, true);
        await state.stop(ring);
        return answer(VRING_STATE.write(ring.index, ring.base));
      },
    },
  ],
  [
    REQUEST.SET_VRING_KICK,
    {
      bytes: U64.bytes,
      async handle(state, message) {
        const { ring, fd } = ringFd(state, message);
        await state.stop(ring);
        state.setFd(ring, 'kick', fd);
        state.start(ring);
      },
    },
  ],
  [
    REQUEST.SET_VRING_CALL,
    {
      bytes: U64.bytes,
      handle(state, message) {
        const { ring, fd } = ringFd(state, message);
        state.setFd(ring, 'call', fd);
      },
    },
  ],
  [
    REQUEST.SET_VRING_ERR,
    {
      bytes: U64.bytes,
      handle(state, message) {
        const { ring, fd } = ringFd(state, message);
        state.setFd(ring, 'error', fd);
      },
    },
  ],
  [
    REQUEST.SET_VRING_ENABLE,
    {
      bytes: VRING_STATE.bytes,
      fds: 0,
      handle(state, message) {
        const { ring, value } = ringState(state, message, true);
        if (value > 1) throw bad(state, message, `queue ${ring.index}: ${value}, must be 0 or 1`);
        state.enable(ring, value === 1);
      },
    },
  ],
];
