import type { PoolKernels } from '../memory/pool.ts';
import { OFFLOAD_ANY } from '../packet/layout.ts';
import { RingwayError } from '../util/errors.ts';
import {
  CAPTURE_FILE_BYTES,
  CaptureFile,
  type CaptureFileShare,
  createCaptureFile,
  releaseCaptureFile,
} from './capture-file.ts';
import {
  CAPTURE_REPLAY_BYTES,
  CaptureReplay,
  type CaptureReplayShare,
  openReplay,
  releaseReplay,
} from './capture-replay.ts';
import type { PortInfo, PortType } from './port.ts';

/** Settings of a capture port; the configuration's own. */
export interface CaptureConfig {
  readonly name: string;
  /** Absolute path of the file to replay. */
  readonly path?: string;
  /** Absolute path of the file to record to. The port makes missing parent directories. */
  readonly write?: string;
  /** `full`: as fast as packets are taken. `recorded`: as the timestamps say. A number: that many times as fast. */
  readonly speed: 'full' | 'recorded' | number;
  /** Times to replay the file; 0 is forever. */
  readonly loop: number;
  /** Packets to replay at most. */
  readonly limit?: number;
  /** Format of `write`. */
  readonly format: 'pcap' | 'pcapng';
}

interface CaptureData {
  readonly replay?: CaptureReplayShare;
  readonly file?: CaptureFileShare;
}

/** Replays a capture file, records to one, or both. Without a file to record to, what is sent to it is dropped there. */
export const capturePort: PortType<CaptureConfig> = {
  bytes: ({ path, write }) =>
    (path === undefined ? 0 : CAPTURE_REPLAY_BYTES + 4096) + (write === undefined ? 0 : CAPTURE_FILE_BYTES),

  create(setup, config) {
    const { path, write, loop, limit } = config;
    const replay = path === undefined ? undefined : openReplay(setup, config, path);
    let file: CaptureFileShare | undefined;
    try {
      if (write !== undefined) file = createCaptureFile(setup, `ports.${config.name}.write`, write, config.format);
    } catch (error) {
      if (replay !== undefined) releaseReplay(setup, replay);
      throw error;
    }
    const data: CaptureData = { ...(replay && { replay }), ...(file && { file }) };
    const ends = replay !== undefined && (loop !== 0 || limit !== undefined);
    return { data, rxQueues: replay === undefined ? 0 : 1, pausable: true, finite: ends };
  },

  attach(context, shared) {
    const data = shared as CaptureData;
    const { arena, cache } = context;
    const { poolFree } = arena.kernels<PoolKernels>();
    const replay = data.replay === undefined ? undefined : new CaptureReplay(context, data.replay);
    const file = data.file === undefined ? undefined : new CaptureFile(context, data.file);
    return {
      offloads: file === undefined ? OFFLOAD_ANY : 0,
      rxBurst: (slots, max) => replay?.rxBurst(slots, max) ?? 0,
      txBurst(slots, count) {
        file?.append(slots, count);
        poolFree(cache, slots, count);
        return count;
      },
      info(): PortInfo {
        const info = replay?.info() ?? { done: false };
        return file?.withFault(info) ?? info;
      },
      close: () => file?.flush(),
      set(name, value) {
        if (replay === undefined || name !== 'speed') {
          throw new RingwayError(
            'BAD_ARGUMENT',
            `capture: ${name} cannot be changed while it runs; only a replay’s speed can`,
          );
        }
        replay.setSpeed(value as CaptureConfig['speed']);
      },
    };
  },

  release(setup, shared) {
    const { replay, file } = shared as CaptureData;
    if (replay !== undefined) releaseReplay(setup, replay);
    if (file !== undefined) releaseCaptureFile(setup, file);
  },
};
