/**
 * Packets: captures in and out.
 *
 * @example
 * import { CaptureWriter, readCapture } from 'ringway/packet';
 *
 * const copy = new CaptureWriter('copy.pcapng', { format: 'pcapng' });
 * for (const { frame, seconds, nanoseconds, wireLength } of readCapture('some.pcap')) {
 *   copy.write(frame, { seconds, nanoseconds, wireLength });
 * }
 * copy.close();
 *
 * @module
 */
export { type CapturedFrame, readCapture } from './capture-reader.ts';
export { CaptureWriter, type CaptureWriterOptions, type FrameTime } from './capture-writer.ts';
export type { PacketKernels } from './kernels.ts';
export { LINK_TYPE_ETHERNET, linkTypeName } from './link-types.ts';
