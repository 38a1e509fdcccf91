import { readCapture } from '../packet/capture-reader.ts';
import { CaptureWriter } from '../packet/capture-writer.ts';
import { LINK_TYPE_ETHERNET } from '../packet/link-types.ts';
import { XDP_ACTIONS, type XdpAction } from './actions.ts';
import { PACKET_MAX, PACKET_MIN, type RunContext, type XdpProgram } from './run.ts';

/** What came of the frames of a capture. */
export interface CaptureRun {
  /** Frames that the program ran on. */
  readonly packets: number;
  /** Frames that it did not: no Ethernet, or too short or too long. */
  readonly skipped: number;
  readonly actions: Readonly<Record<XdpAction, number>>;
  /** By what a checked program did and where: packets that it was ended for. */
  readonly faults: ReadonlyMap<string, number>;
  /** What it said with trace_printk, the first LOG_MAX lines. */
  readonly log: readonly string[];
  /** Records of ring buffers and perf event arrays, by map. */
  readonly events: ReadonlyMap<string, number>;
}

const LOG_MAX = 1000;

/** The frames of a capture, with their times; undefined for one that no program can run on. */
export function* framesOf(input: string | Uint8Array): Generator<ReturnType<typeof readFrame>> {
  for (const captured of readCapture(input)) yield readFrame(captured);
}

function readFrame({
  frame,
  seconds,
  nanoseconds,
  linkType,
}: {
  readonly frame: Uint8Array;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly linkType: number;
}): { frame: Uint8Array; seconds: number; nanoseconds: number } | undefined {
  const fits = frame.length >= PACKET_MIN && frame.length <= PACKET_MAX;
  return linkType === LINK_TYPE_ETHERNET && fits ? { frame, seconds, nanoseconds } : undefined;
}

/** A frame's time as programs see it. */
export const nanosecondsOf = ({ seconds, nanoseconds }: { seconds: number; nanoseconds: number }): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);

/**
 * Runs a program on each frame of a capture, at the frame's time.
 * @param output a capture that gets what passes, is sent back or redirected, as it left.
 * @throws RingwayError as `readCapture` and `CaptureWriter`.
 */
export function runCapture(
  program: XdpProgram,
  input: string | Uint8Array,
  options: { readonly output?: string; readonly context?: RunContext } = {},
): CaptureRun {
  const { output, context } = options;
  const writer =
    output === undefined
      ? undefined
      : new CaptureWriter(output, { format: output.endsWith('.pcapng') ? 'pcapng' : 'pcap' });
  const actions = Object.fromEntries(XDP_ACTIONS.map((action) => [action, 0])) as Record<XdpAction, number>;
  const faults = new Map<string, number>();
  const events = new Map<string, number>();
  const log: string[] = [];
  const count = (map: Map<string, number>, key: string): void => void map.set(key, (map.get(key) ?? 0) + 1);
  let packets = 0;
  let skipped = 0;
  try {
    for (const captured of framesOf(input)) {
      if (captured === undefined) {
        skipped++;
        continue;
      }
      program.setTime(nanosecondsOf(captured));
      const result = program.run(captured.frame, context);
      packets++;
      actions[result.action]++;
      if (result.fault !== undefined) count(faults, `${result.fault.reason}, at ${result.fault.place}`);
      for (const { map } of result.events) count(events, map);
      log.push(...result.log.slice(0, LOG_MAX - log.length));
      if (result.action !== 'DROP' && result.action !== 'ABORTED') writer?.write(result.packet, captured);
    }
  } finally {
    writer?.close();
  }
  return { packets, skipped, actions, faults, log, events };
}
