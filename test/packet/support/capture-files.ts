/** Capture files made by hand, independent of the writer under test: both byte orders, every block that is read. */

export interface PcapRecord {
  readonly seconds: number;
  readonly fraction: number;
  readonly wireLength: number;
  readonly frame: Uint8Array;
}

/** Bytes put together from words in one byte order. */
export class Bytes {
  readonly #parts: number[] = [];
  readonly little: boolean;

  constructor(little: boolean) {
    this.little = little;
  }

  u16(...values: number[]): this {
    for (const value of values) this.#put(value, 2);
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) this.#put(value, 4);
    return this;
  }

  raw(bytes: ArrayLike<number>, align = 1): this {
    for (const byte of Array.from(bytes)) this.#parts.push(byte);
    while (this.#parts.length % align !== 0) this.#parts.push(0);
    return this;
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#parts);
  }

  #put(value: number, size: number): void {
    const bytes = Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) & 255);
    this.#parts.push(...(this.little ? bytes : bytes.reverse()));
  }
}

export function pcapFile(
  little: boolean,
  records: readonly PcapRecord[],
  { magic = 0xa1b2c3d4, linkType = 1, minor = 4 } = {},
): Uint8Array {
  const file = new Bytes(little).u32(magic).u16(2, minor).u32(0, 0, 65535, linkType);
  for (const { seconds, fraction, wireLength, frame } of records) {
    file.u32(seconds, fraction, frame.length, wireLength);
    if (magic === 0xa1b2cd34) file.u32(0, 0);
    file.raw(frame);
  }
  return file.done();
}

/** A pcapng block: type, length, body padded to 4 bytes, length. */
export function block(little: boolean, type: number, body: Uint8Array): Uint8Array {
  const length = 12 + Math.ceil(body.length / 4) * 4;
  return new Bytes(little).u32(type, length).raw(body, 4).u32(length).done();
}

export function section(little: boolean): Uint8Array {
  return block(little, 0x0a0d0d0a, new Bytes(little).u32(0x1a2b3c4d).u16(1, 0).u32(0xffffffff, 0xffffffff).done());
}

export function interfaceBlock(
  little: boolean,
  {
    linkType = 1,
    snap = 0,
    resolution,
    offset,
  }: { linkType?: number; snap?: number; resolution?: number; offset?: bigint } = {},
): Uint8Array {
  const body = new Bytes(little).u16(linkType, 0).u32(snap);
  // A name first: an option that is passed over.
  body.u16(2, 3).raw([101, 116, 104], 4);
  if (resolution !== undefined) body.u16(9, 1).raw([resolution], 4);
  if (offset !== undefined) {
    const [high, low] = halves(BigInt.asUintN(64, offset));
    body.u16(14, 8).u32(...(little ? [low, high] : [high, low]));
  }
  return block(little, 1, body.u16(0, 0).done());
}

/** The upper and lower 32 bits of `value`. */
export function halves(value: bigint): [number, number] {
  return [Number(value >> 32n), Number(value & 0xffffffffn)];
}

export function enhancedBlock(
  little: boolean,
  id: number,
  ticks: bigint,
  frame: Uint8Array,
  wireLength = frame.length,
): Uint8Array {
  const body = new Bytes(little).u32(id, ...halves(ticks), frame.length, wireLength).raw(frame, 4);
  // opt_comment "x", opt_endofopt
  return block(little, 6, body.u16(1, 1).raw([120], 4).u16(0, 0).done());
}

export function packetBlock(little: boolean, id: number, ticks: bigint, frame: Uint8Array): Uint8Array {
  const body = new Bytes(little).u16(id, 7).u32(...halves(ticks), frame.length, frame.length);
  return block(little, 2, body.raw(frame, 4).done());
}

export function simpleBlock(little: boolean, frame: Uint8Array, wireLength = frame.length): Uint8Array {
  return block(little, 3, new Bytes(little).u32(wireLength).raw(frame, 4).done());
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}
