/**
 * XDP programs from eBPF object files, as libraries: run on packets one by one, with neither root nor kernel.
 *
 * @example
 * import { loadXdp } from 'ringway/xdp';
 *
 * const program = await loadXdp('examples/xdp/drop-list.o', { prog: 'xdp_drop_list' });
 * program.maps.denied.set({ prefixlen: 32, addr: Uint8Array.of(203, 0, 113, 7) }, 1n);
 * const { action, packet } = program.run(frame, { ifindex: 1, rxQueue: 0 });
 * console.log(action, packet.length);
 *
 * @module
 */
export { BpfMap } from '../bpf/maps/map.ts';
export { type ErrorCode, RingwayError } from '../util/errors.ts';
export { XDP_ACTIONS, type XdpAction } from './actions.ts';
export { type CaptureRun, runCapture } from './capture.ts';
export { diffCapture, type MapDifference, type PacketDifference } from './diff.ts';
export type { XdpEvent } from './events.ts';
export {
  loadXdp,
  type RedirectTarget,
  type RunContext,
  type RunResult,
  type XdpFault,
  type XdpOptions,
  XdpProgram,
  type XdpReplacement,
} from './run.ts';
