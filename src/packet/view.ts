/**
 * A header in a frame: where it lies, and accessors for its fields. A length is checked once, by the `parse` of each
 * kind of view; the accessors then only read and write bytes that were found to be there. Fields keep the network's
 * byte order in the frame. Works over any bytes, shared memory included; bytes that another thread changes meanwhile
 * can give other values, never an exception.
 */
export abstract class HeaderView {
  readonly bytes: Uint8Array;
  /** Index of the header's first byte. */
  readonly at: number;
  /** Bytes from there to the end of what encloses the header: the frame, or the packet around it. */
  readonly length: number;

  protected constructor(bytes: Uint8Array, at: number, length: number) {
    this.bytes = bytes;
    this.at = at;
    this.length = length;
  }

  /** Bytes of the header, options included. */
  abstract get headerLength(): number;

  /** Index of the first byte behind the header. */
  get payloadAt(): number {
    return this.at + this.headerLength;
  }

  /** Bytes behind the header that are there. */
  get payloadLength(): number {
    return this.length - this.headerLength;
  }

  protected get8(offset: number): number {
    return this.bytes[this.at + offset] ?? 0;
  }

  protected get16(offset: number): number {
    return this.get8(offset) * 256 + this.get8(offset + 1);
  }

  protected get32(offset: number): number {
    return this.get16(offset) * 65536 + this.get16(offset + 2);
  }

  protected get48(offset: number): number {
    return this.get16(offset) * 2 ** 32 + this.get32(offset + 2);
  }

  /** Bytes of the header from `offset` on, not copied. */
  protected part(offset: number, length: number): Uint8Array {
    return this.bytes.subarray(this.at + offset, this.at + offset + length);
  }

  protected set8(offset: number, value: number): void {
    this.bytes[this.at + offset] = value;
  }

  protected set16(offset: number, value: number): void {
    this.set8(offset, value >>> 8);
    this.set8(offset + 1, value);
  }

  protected set32(offset: number, value: number): void {
    this.set16(offset, value >>> 16);
    this.set16(offset + 2, value);
  }

  protected set48(offset: number, value: number): void {
    this.set16(offset, Math.floor(value / 2 ** 32));
    this.set32(offset + 2, value % 2 ** 32);
  }
}

/** True when a header of `needed` bytes lies in `length` bytes from index `at`, and those in `bytes`. */
export function holds(bytes: Uint8Array, at: number, length: number, needed: number): boolean {
  return at >= 0 && length >= needed && at + length <= bytes.length;
}
