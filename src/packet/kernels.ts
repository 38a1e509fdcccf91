/** The kernels of this slice, for `arena.kernels<PacketKernels>()`; `*.kernel.ts` say what each does. */
export interface PacketKernels {
  packetChecksum(address: number, length: number, initial: number): number;
  packetFinish(slots: number, count: number, mask: number): number;
  packetFinishChecksum(slot: number): number;
  packetFlowHash(slots: number, count: number): void;
  packetGro(area: number, slots: number, count: number, wanted: number): number;
  packetGroTake(area: number, slots: number, max: number): number;
  packetHeaders(slot: number, target: number): void;
  packetRssHash(slots: number, count: number, config: number, target: number): void;
  packetSegment(cache: number, slot: number, from: number, max: number, work: number): number;
  packetToeplitz(slots: number, count: number, key: number): void;
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
