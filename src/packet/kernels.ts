/** The kernels of this slice, for `arena.kernels<PacketKernels>()`; `*.kernel.ts` say what each does. */
export interface PacketKernels {
  packetCaptureLoad(cache: number, records: number, count: number, windowBase: number, slots: number): number;
  packetPcapAppend(
    slots: number,
    count: number,
    target: number,
    room: number,
    seconds: number,
    nanoseconds: number,
    usedAt: number,
  ): number;
  packetPcapngAppend(
    slots: number,
    count: number,
    target: number,
    room: number,
    seconds: number,
    nanoseconds: number,
    usedAt: number,
  ): number;
}
