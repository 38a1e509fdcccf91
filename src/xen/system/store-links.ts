import { createConnection } from 'node:net';
import type { Arena } from '../../memory/arena.ts';
import type { Devices, Poller } from '../../sys/index.ts';
import { RingwayError } from '../../util/errors.ts';
import { STORE_HEADER_BYTES, STORE_PAYLOAD_MAX } from './store-wire.ts';

/** What a link tells of: bytes that have come, and its end, after which nothing comes. */
export interface LinkEvents {
  data(chunk: Uint8Array): void;
  end(error: Error): void;
}

/** What carries messages to xenstored, and bytes of its answers back. */
export interface StoreLink {
  /** Where xenstored is reached, for messages. */
  readonly path: string;
  /** Bytes behind the header of a message at most. */
  readonly payloadMax: number;
  /** Takes a message, whole. Returns the name of why it does not, such as `EINVAL`: then that message alone is lost. */
  send(message: Uint8Array): string | undefined;
  close(): void;
}

/** Connects to a link's other end. */
export type OpenLink = (events: LinkEvents) => StoreLink;

/** xenstored's socket at `path`. What is sent before it is connected waits. Nothing of it keeps the process running. */
export function socketLink(path: string): OpenLink {
  return ({ data, end }) => {
    const socket = createConnection(path).unref();
    socket.on('data', data);
    socket.on('error', end);
    socket.on('close', () => end(new Error('the other side has closed the connection')));
    return {
      path,
      payloadMax: STORE_PAYLOAD_MAX,
      send(message) {
        socket.write(message);
        return undefined;
      },
      close: () => void socket.destroy(),
    };
  };
}

/** Bytes of one read, and where they, the message of a write and what describes either lie in the region. */
const READ_BYTES = 4096;
/** Bytes of a message at most, with its header: less than by the socket. */
const DEVICE_MESSAGE_MAX = 4096;
const MESSAGE_AT = 16;
const READ_AT = MESSAGE_AT + DEVICE_MESSAGE_MAX;
/** Bytes of the arena that a link by the kernel's device takes. */
export const DEVICE_LINK_BYTES = READ_AT + READ_BYTES;

/**
 * The kernel's own connection to xenstored, through /dev/xen/xenbus (Linux drivers/xen/xenbus/xenbus_dev_frontend.c), for domains
 * that have no socket of xenstored's. Each write is one message, of a page with its header; one that is refused is refused by the
 * write itself.
 */
export class DeviceLink implements StoreLink {
  readonly path: string;
  readonly payloadMax = DEVICE_MESSAGE_MAX - STORE_HEADER_BYTES;
  readonly #arena: Arena;
  readonly #devices: Pick<Devices, 'base' | 'readv' | 'write' | 'errorName'>;
  readonly #fd: number;
  readonly #address: number;
  readonly #events: LinkEvents;
  #stop = (): void => {};

  /** @param address of DEVICE_LINK_BYTES of the arena. @param fd of the device, which whoever opened it closes. */
  constructor(
    arena: Arena,
    devices: Pick<Devices, 'base' | 'readv' | 'write' | 'errorName'>,
    { path, fd, address }: { readonly path: string; readonly fd: number; readonly address: number },
    events: LinkEvents,
  ) {
    this.path = path;
    this.#arena = arena;
    this.#devices = devices;
    this.#fd = fd;
    this.#address = address;
    this.#events = events;
  }

  send(message: Uint8Array): string | undefined {
    this.#arena.u8.set(message, this.#address + MESSAGE_AT);
    const written = this.#devices.write(this.#fd, this.#address + MESSAGE_AT, message.length);
    if (written === message.length) return undefined;
    if (written < 0) return this.#devices.errorName();
    // What is left of it would be taken for the next one's beginning.
    this.#events.end(new RingwayError('SYSTEM', `write(${this.path}) took ${written} of ${message.length} bytes`));
    return 'EIO';
  }

  /** Reads what has come. */
  read(): void {
    const { u8, u32 } = this.#arena;
    const at = this.#address + READ_AT;
    const base = this.#devices.base + at;
    for (;;) {
      u32.set([base % 2 ** 32, Math.floor(base / 2 ** 32), READ_BYTES, 0], this.#address >>> 2);
      const bytes = this.#devices.readv(this.#fd, this.#address, 1);
      if (bytes > 0) {
        this.#events.data(u8.slice(at, at + bytes));
        continue;
      }
      const error = bytes < 0 ? this.#devices.errorName() : 'it has ended';
      if (error !== 'EAGAIN') this.#events.end(new Error(`read: ${error}`));
      return;
    }
  }

  /** Reads whenever something has come, until it is closed. */
  start(poller: Poller): void {
    this.#stop = poller.watch(this.#fd, () => this.read());
  }

  close(): void {
    this.#stop();
    this.#stop = (): void => {};
  }
}
