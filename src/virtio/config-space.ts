/**
 * A device's configuration space (virtio 1.1, 2.4): little-endian fields, and a generation that changes with them, so
 * that a driver notices when it read fields of two versions.
 */
export class ConfigSpace {
  /** Called after a change that the driver is to be told of. The device that owns the space sets it. */
  onChange: () => void = () => {};
  readonly #view: DataView;
  #generation = 0;

  constructor(bytes: number) {
    this.#view = new DataView(new ArrayBuffer(bytes));
  }

  /** Bytes of the space. */
  get bytes(): number {
    return this.#view.byteLength;
  }

  /** Counts changes, modulo 2^32; transports pass on as many bits as they have. */
  get generation(): number {
    return this.#generation;
  }

  /** A copy of `length` bytes from `offset` on; undefined when they are not all inside. */
  read(offset: number, length: number): Uint8Array | undefined {
    if (!this.contains(offset, length)) return undefined;
    return new Uint8Array(this.#view.buffer.slice(offset, offset + length));
  }

  /** True for whole numbers that name bytes inside. */
  contains(offset: number, length: number): boolean {
    const whole = Number.isInteger(offset) && Number.isInteger(length);
    return whole && offset >= 0 && length >= 0 && offset + length <= this.bytes;
  }

  /** Changes fields, all in one generation, and tells the driver unless it asked for the change itself. */
  update(change: (fields: DataView) => void, tell = true): void {
    change(this.#view);
    this.#generation = (this.#generation + 1) >>> 0;
    if (tell) this.onChange();
  }
}
