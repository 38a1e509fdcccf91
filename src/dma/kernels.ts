/** The kernels of a channel and of its engine. An address or a count of 2^31 or more comes out negative. */
export interface DmaKernels {
  dmaCopy(vchan: number, target: number, source: number, length: number, flags: number): number;
  dmaCopySg(vchan: number, targets: number, nTargets: number, sources: number, nSources: number, flags: number): number;
  dmaFill(vchan: number, target: number, low: number, high: number, length: number, flags: number): number;
  dmaSubmit(vchan: number): void;
  dmaCompleted(vchan: number, max: number): number;
  dmaCompletedStatus(vchan: number, max: number, statuses: number): number;
  dmaBurstCapacity(vchan: number): number;
  dmaRollback(vchan: number, index: number): number;
  dmaRunning(vchan: number): number;
  dmaRunEngine(vchan: number, max: number): number;
  dmaCheck(vchan: number, position: number): number;
  dmaExecute(vchan: number, position: number): number;
  dmaFail(vchan: number, position: number, status: number): void;
  dmaFinish(vchan: number, n: number): void;
  dmaAbort(vchan: number): number;
}
