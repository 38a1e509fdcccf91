import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { LCORE_NANOSECONDS, LCORE_SECONDS } from '../lcore/layout.ts';
import { CaptureScanner } from '../packet/capture-scanner.ts';
import type { PacketKernels } from '../packet/kernels.ts';
import {
  RECORD_FLAG_ETHERNET,
  RECORD_FLAG_TIMED,
  RECORD_FLAGS,
  RECORD_NANOSECONDS,
  RECORD_SECONDS,
  RECORD_SHIFT,
} from '../packet/layout.ts';
import { LINK_TYPE_ETHERNET, linkTypeName } from '../packet/link-types.ts';
import { CAPTURE_BLOCK_MAX } from '../packet/pcapng.ts';
import { DROP_LINK_TYPE } from '../telemetry/layout.ts';
import { RingwayError } from '../util/errors.ts';
import type { CaptureConfig } from './capture.ts';
import type { PortContext, PortInfo, PortSetup } from './port.ts';

/** An open capture file to replay, as the control thread hands it to an lcore. */
export interface CaptureReplayShare {
  readonly fd: number;
  readonly path: string;
  readonly bytes: number;
  /** Address of the window of the file, then of the records found in it. */
  readonly window: number;
  readonly speed: CaptureConfig['speed'];
  readonly loop: number;
  readonly limit?: number;
}

/** A window holds the largest block whole, and the rest of the one before. */
const WINDOW_BYTES = 2 * CAPTURE_BLOCK_MAX;
/** Bytes read at once: more than this lies cold when it is used. */
const READ_BYTES = 256 << 10;
/** Records found at once. */
const RECORDS = 256;

/** Bytes of a file that are looked at before it is replayed. */
const START_BYTES = 65536;

/** Bytes of the arena that a replay takes: the window, and the records found in it. */
export const CAPTURE_REPLAY_BYTES = WINDOW_BYTES + (RECORDS << RECORD_SHIFT);

/**
 * Opens a capture and looks at its first interfaces.
 * @throws RingwayError `SYSTEM` when it cannot be read, `BAD_CAPTURE` when it is no capture or none of Ethernet frames.
 */
export function openReplay(setup: PortSetup, config: CaptureConfig, path: string): CaptureReplayShare {
  const place = `ports.${config.name}.path: ${path}`;
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const bytes = fstatSync(fd).size;
    const start = new Uint8Array(START_BYTES);
    checkStart(place, start.subarray(0, readSync(fd, start, 0, START_BYTES, 0)), bytes);
    const window = setup.arena.allocate(`${setup.name} replay`, CAPTURE_REPLAY_BYTES, 4096);
    const { speed, loop, limit } = config;
    return { fd, path, bytes, window, speed, loop, ...(limit === undefined ? {} : { limit }) };
  } catch (cause) {
    if (fd !== undefined) closeSync(fd);
    if (cause instanceof RingwayError) throw cause;
    throw new RingwayError('SYSTEM', `${place} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** Refuses what is no capture, and what has no Ethernet interface as far as `start`, of `bytes` in all, tells. */
function checkStart(place: string, start: Uint8Array, bytes: number): void {
  const scanner = new CaptureScanner();
  const records = new Uint32Array(RECORDS << (RECORD_SHIFT - 2));
  let from = 0;
  let found: number;
  do {
    found = scanner.scan(start, from, start.length, records, 0, RECORDS);
    from += scanner.consumed;
  } while (found > 0);
  if (start.length === bytes) scanner.end(bytes - from);
  const { interfaces } = scanner;
  if (scanner.break !== undefined && interfaces.length === 0) {
    throw new RingwayError('BAD_CAPTURE', `${place}: ${scanner.break.message}`);
  }
  if (interfaces.length > 0 && !interfaces.some(({ linkType }) => linkType === LINK_TYPE_ETHERNET)) {
    const names = new Set(interfaces.map(({ linkType }) => linkTypeName(linkType)));
    throw new RingwayError(
      'BAD_CAPTURE',
      `${place}: link type ${[...names].join(', ')}; only Ethernet frames can be replayed`,
    );
  }
}

/** Closes the file and gives the window back. */
export function releaseReplay(setup: PortSetup, share: CaptureReplayShare): void {
  closeSync(share.fd);
  setup.arena.release(`${setup.name} replay`);
}

/** Reads packets out of an open capture file, at once or as their times say. */
export class CaptureReplay {
  readonly #context: PortContext;
  readonly #share: CaptureReplayShare;
  readonly #load: PacketKernels['packetCaptureLoad'];
  readonly #records: number;
  #scanner = new CaptureScanner();
  /** Bytes of the window in use: from, to. */
  #from = 0;
  #to = 0;
  /** Where in the file the next read starts. */
  #position = 0;
  #ended = false;
  /** Records found, and how many of them are gone. */
  #found = 0;
  #next = 0;
  #loops = 0;
  #received = 0;
  #done = false;
  #fault: string | undefined;
  #speed: CaptureConfig['speed'];
  /** The lcore's and the capture's time at which replaying began, in seconds. */
  #startedAt: number | undefined;
  #firstAt = 0;

  constructor(context: PortContext, share: CaptureReplayShare) {
    this.#context = context;
    this.#share = share;
    this.#load = context.arena.kernels<PacketKernels>().packetCaptureLoad;
    this.#records = share.window + WINDOW_BYTES;
    this.#speed = share.speed;
  }

  setSpeed(speed: CaptureConfig['speed']): void {
    this.#speed = speed;
    this.#startedAt = undefined;
  }

  info(): PortInfo {
    const { bytes, loop, limit } = this.#share;
    const passes = loop === 0 ? Number.POSITIVE_INFINITY : loop;
    const ofFile = (this.#loops + this.#position / Math.max(1, bytes)) / passes;
    const progress = this.#done ? 1 : Math.max(ofFile, this.#received / (limit ?? Number.POSITIVE_INFINITY));
    const finite = loop !== 0 || limit !== undefined;
    return {
      done: this.#done,
      ...(finite ? { progress: Math.min(1, progress) } : {}),
      ...(this.#fault === undefined ? {} : { fault: this.#fault }),
    };
  }

  rxBurst(slots: number, max: number): number {
    if (this.#done) return 0;
    if (this.#next === this.#found && !this.#findRecords()) return 0;
    const left = (this.#share.limit ?? Number.POSITIVE_INFINITY) - this.#received;
    const ready = this.#countReady(Math.min(max, left, this.#found - this.#next));
    if (ready === 0) return 0;
    const n = this.#load(this.#context.cache, this.#recordAddress(this.#next), ready, 0, slots);
    this.#next += n;
    this.#received += n;
    if (this.#received === this.#share.limit) this.#done = true;
    return n;
  }

  #recordAddress(index: number): number {
    return this.#records + (index << RECORD_SHIFT);
  }

  #word(record: number, offset: number): number {
    return this.#context.arena.u32[(this.#recordAddress(record) + offset) >>> 2] ?? 0;
  }

  /** How many of the next `max` records are Ethernet frames whose time has come. Others are refused on the way. */
  #countReady(max: number): number {
    let n = 0;
    while (n < max) {
      const record = this.#next + n;
      const flags = this.#word(record, RECORD_FLAGS);
      if ((flags & RECORD_FLAG_ETHERNET) === 0) {
        if (n > 0) break;
        this.#context.refuse(DROP_LINK_TYPE, 1);
        this.#next++;
        max--;
        continue;
      }
      if (this.#speed !== 'full' && (flags & RECORD_FLAG_TIMED) !== 0 && !this.#isDue(record)) break;
      n++;
    }
    return n;
  }

  #isDue(record: number): boolean {
    const { arena, lcore } = this.#context;
    const word = (offset: number): number => arena.u32[(lcore + offset) >>> 2] ?? 0;
    // Differences of seconds stay exact to some 100 ns.
    const now = word(LCORE_SECONDS) + word(LCORE_NANOSECONDS) / 1e9;
    const at = this.#word(record, RECORD_SECONDS) + this.#word(record, RECORD_NANOSECONDS) / 1e9;
    if (this.#startedAt === undefined) {
      this.#startedAt = now;
      this.#firstAt = at;
    }
    const factor = typeof this.#speed === 'number' ? this.#speed : 1;
    return at - this.#firstAt <= (now - this.#startedAt) * factor;
  }

  /** Finds the next records, reading on in the file as needed. False at its end. */
  #findRecords(): boolean {
    const { u8, u32 } = this.#context.arena;
    const { window } = this.#share;
    this.#next = 0;
    this.#found = 0;
    for (;;) {
      if (this.#to > this.#from) {
        this.#found = this.#scanner.scan(u8, window + this.#from, window + this.#to, u32, this.#records >>> 2, RECORDS);
        this.#from += this.#scanner.consumed;
        if (this.#found > 0) return true;
      }
      if (this.#scanner.break !== undefined || this.#ended) {
        this.#scanner.end(this.#to - this.#from);
        if (!this.#rewind()) return false;
      } else {
        this.#read();
      }
    }
  }

  /** Moves what is left of the window to its front, and fills it up. */
  #read(): void {
    const { u8 } = this.#context.arena;
    const { window, fd } = this.#share;
    u8.copyWithin(window, window + this.#from, window + this.#to);
    this.#to -= this.#from;
    this.#from = 0;
    const want = Math.min(WINDOW_BYTES - this.#to, Math.max(READ_BYTES, this.#scanner.needed));
    let n = 0;
    try {
      n = readSync(fd, u8, window + this.#to, want, this.#position);
    } catch (error) {
      this.#fault = `${this.#share.path}: cannot be read behind byte ${this.#position}: ${(error as Error).message}`;
    }
    this.#to += n;
    this.#position += n;
    if (n === 0) this.#ended = true;
  }

  /** Starts the file again, when it is to be replayed once more. A broken one is not. */
  #rewind(): boolean {
    const broken = this.#scanner.break;
    if (broken !== undefined) this.#fault = `${this.#share.path}: ${broken.message}`;
    this.#loops++;
    if (this.#fault !== undefined || this.#loops === this.#share.loop || this.#received === 0) {
      this.#done = true;
      return false;
    }
    this.#scanner = new CaptureScanner();
    this.#position = 0;
    this.#from = 0;
    this.#to = 0;
    this.#ended = false;
    this.#startedAt = undefined;
    return true;
  }
}
