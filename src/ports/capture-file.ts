import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { LCORE_NANOSECONDS, LCORE_SECONDS } from '../lcore/layout.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { type CaptureFormat, captureHeader } from '../packet/capture-writer.ts';
import type { PacketKernels } from '../packet/kernels.ts';
import { CAPTURE_FRAME_MAX } from '../packet/layout.ts';
import { DROP_TX_ERROR } from '../telemetry/layout.ts';
import { RingwayError } from '../util/errors.ts';
import type { PortContext, PortInfo, PortSetup } from './port.ts';

/** An open capture file, as the control thread hands it to an lcore. */
export interface CaptureFileShare {
  /** Its descriptor: open in the whole process. */
  readonly fd: number;
  readonly path: string;
  readonly format: CaptureFormat;
  /** Name and address of the region that records are gathered in. */
  readonly region: string;
  readonly stage: number;
  /** Bytes of the file's header. */
  readonly headerBytes: number;
}

/** Large enough for the largest frame many times over, and for writes that are bound by copying, not by calls. */
const STAGE_BYTES = 1 << 20;
const STAGE_SCRATCH = 64;
/** The longest frame with its header. */
const RECORD_MAX = CAPTURE_FRAME_MAX + 64;

/** Bytes of the arena that an open capture file takes. */
export const CAPTURE_FILE_BYTES = STAGE_SCRATCH + STAGE_BYTES;

/**
 * Creates a capture file for writing, its missing folders too, with its header in it.
 * @param place what the configuration calls it: `ports.out.write`.
 * @throws RingwayError `SYSTEM` when it cannot be made.
 */
export function createCaptureFile(
  setup: PortSetup,
  place: string,
  path: string,
  format: CaptureFormat,
): CaptureFileShare {
  const header = captureHeader(format);
  const region = `${setup.name} ${place.slice(place.lastIndexOf('.') + 1)}`;
  let fd: number | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true });
    fd = openSync(path, 'w');
    writeSync(fd, header);
    const stage = setup.arena.allocate(region, CAPTURE_FILE_BYTES);
    return { fd, path, format, region, stage, headerBytes: header.length };
  } catch (cause) {
    if (fd !== undefined) closeSync(fd);
    if (cause instanceof RingwayError) throw cause;
    throw new RingwayError('SYSTEM', `${place}: ${path} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** Closes the descriptor and gives the stage back. */
export function releaseCaptureFile(setup: PortSetup, { fd, region }: CaptureFileShare): void {
  closeSync(fd);
  setup.arena.release(region);
}

/**
 * Appends packets to an open capture file, gathered by kernels in the arena and written in pieces of a mebibyte. When
 * the system refuses a write, the file ends behind its last whole piece and stays so: what comes later is lost.
 */
export class CaptureFile {
  readonly #context: PortContext;
  readonly #share: CaptureFileShare;
  readonly #append: PacketKernels['packetPcapAppend'];
  /** Bytes and packets in the stage. */
  #fill = 0;
  #staged = 0;
  /** Length of the file. */
  #written: number;
  #fault: string | undefined;
  #lost = 0;

  constructor(context: PortContext, share: CaptureFileShare) {
    this.#context = context;
    this.#share = share;
    const { packetPcapAppend, packetPcapngAppend } = context.arena.kernels<PacketKernels>();
    this.#append = share.format === 'pcap' ? packetPcapAppend : packetPcapngAppend;
    this.#written = share.headerBytes;
  }

  /** What went wrong, when something did. */
  get fault(): string | undefined {
    if (this.#fault === undefined) return undefined;
    return `${this.#share.path}: ${this.#fault}; ${this.#lost} packets behind byte ${this.#written} are lost`;
  }

  /** Records `n` packets at `slots`, which stay the caller's. */
  append(slots: number, n: number): void {
    const { arena, lcore } = this.#context;
    const { stage } = this.#share;
    const seconds = arena.u32[(lcore + LCORE_SECONDS) >>> 2] ?? 0;
    const nanoseconds = arena.u32[(lcore + LCORE_NANOSECONDS) >>> 2] ?? 0;
    const target = stage + STAGE_SCRATCH;
    let done = 0;
    while (done < n) {
      if (this.#fault !== undefined) {
        this.#lost += n - done;
        this.#context.lost(DROP_TX_ERROR, n - done);
        return;
      }
      const at = slots + (done << SLOT_SHIFT);
      const room = STAGE_BYTES - this.#fill;
      const taken = this.#append(at, n - done, target + this.#fill, room, seconds, nanoseconds, stage);
      this.#fill += arena.u32[stage >>> 2] ?? 0;
      this.#staged += taken;
      done += taken;
      if (done < n) this.flush();
    }
  }

  /** Where the stage stands, with room for one more frame behind it. */
  mark(): number {
    if (STAGE_BYTES - this.#fill < RECORD_MAX) this.flush();
    return this.#fill;
  }

  /** Forgets the one packet recorded since `mark` returned `fill`. */
  rewind(fill: number): void {
    if (this.#fault !== undefined) return;
    this.#fill = fill;
    this.#staged--;
  }

  /** Writes out what is gathered. */
  flush(): void {
    const { fd, stage } = this.#share;
    const from = stage + STAGE_SCRATCH;
    let done = 0;
    try {
      while (done < this.#fill) {
        done += writeSync(fd, this.#context.arena.u8, from + done, this.#fill - done);
      }
      this.#written += done;
    } catch (error) {
      this.#fault = `write failed: ${(error as Error).message}`;
      this.#lost += this.#staged;
      this.#context.lost(DROP_TX_ERROR, this.#staged);
      cutTo(fd, this.#written);
    }
    this.#fill = 0;
    this.#staged = 0;
  }

  /** `info` with the file's fault, when it has one. */
  withFault(info: PortInfo): PortInfo {
    return this.fault === undefined ? info : { ...info, fault: this.fault };
  }
}

/** Removes a piece that was written in part, so that the file stays readable. A pipe cannot be cut, and needs not be. */
function cutTo(fd: number, bytes: number): void {
  try {
    ftruncateSync(fd, bytes);
  } catch {
    // The fault that is being reported says enough.
  }
}
