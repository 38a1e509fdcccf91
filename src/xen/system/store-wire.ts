import { RingwayError } from '../../util/errors.ts';

/** Types of messages (io/xs_wire.h, enum xsd_sockmsg_type). */
export const XS = {
  directory: 1,
  read: 2,
  getPermissions: 3,
  watch: 4,
  unwatch: 5,
  transactionStart: 6,
  transactionEnd: 7,
  write: 11,
  mkdir: 12,
  remove: 13,
  setPermissions: 14,
  watchEvent: 15,
  error: 16,
} as const;

/** type, req_id, tx_id, len: u32 each. */
export const STORE_HEADER_BYTES = 16;
/** Bytes behind the header at most (XENSTORE_PAYLOAD_MAX). */
export const STORE_PAYLOAD_MAX = 4096;

/** A message of either side. An answer has the type and the number of its request, or the type `error`. */
export interface StoreMessage {
  readonly type: number;
  readonly request: number;
  /** 0: none. */
  readonly transaction: number;
  readonly payload: Uint8Array;
}

export function encodeStoreMessage({ type, request, transaction, payload }: StoreMessage): Uint8Array {
  const bytes = new Uint8Array(STORE_HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [type, request, transaction, payload.length].entries()) view.setUint32(i * 4, word, true);
  bytes.set(payload, STORE_HEADER_BYTES);
  return bytes;
}

/** Finds messages in a stream. It keeps less than one message. */
export class StoreMessageReader {
  #rest: Uint8Array = new Uint8Array();

  /**
   * The messages that `chunk` completes.
   * @throws RingwayError `BAD_REQUEST` when one says that it is longer than a message can be: nothing behind it can be found.
   */
  push(chunk: Uint8Array): StoreMessage[] {
    const bytes = Buffer.concat([this.#rest, chunk]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const messages: StoreMessage[] = [];
    let at = 0;
    while (bytes.length - at >= STORE_HEADER_BYTES) {
      const [type, request, transaction, length] = [0, 4, 8, 12].map((word) => view.getUint32(at + word, true)) as [
        number,
        number,
        number,
        number,
      ];
      if (length > STORE_PAYLOAD_MAX) {
        throw new RingwayError(
          'BAD_REQUEST',
          `xenstore: a message of ${length} bytes, must be at most ${STORE_PAYLOAD_MAX}`,
        );
      }
      const end = at + STORE_HEADER_BYTES + length;
      if (end > bytes.length) break;
      messages.push({ type, request, transaction, payload: bytes.subarray(at + STORE_HEADER_BYTES, end) });
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return messages;
  }
}

/** Strings, each with a zero behind it. */
export const zeroEnded = (strings: readonly string[]): Buffer =>
  Buffer.from(strings.map((text) => `${text}\0`).join(''));

/** The strings in a payload; the last one may have no zero behind it. */
export function stringsIn(payload: Uint8Array): string[] {
  const text = Buffer.from(payload).toString();
  if (text === '') return [];
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0');
}
