/**
 * Linux system calls: the only user of the foreign function interface. Everything else works without it.
 *
 * @example
 * if (sysAvailable()) requireSys('pinning a thread').pinThread(1);
 *
 * @module
 */
export {
  BPF_F_XDP_HAS_FRAGS,
  bpfUnavailable,
  type KernelBpf,
  type KernelMapOptions,
  type KernelProgramOptions,
  requireBpf,
  type TestRunInput,
  type TestRunOutput,
  XDP_FLAGS_DRV_MODE,
  XDP_FLAGS_SKB_MODE,
} from './bpf.ts';
export { guardWindow, surviveTruncation, type TruncationSupport } from './bus-error.ts';
export { type Devices, requireDevices } from './devices.ts';
export { type FileShape, requireSys, type Sys, sysAvailable } from './linux.ts';
export { type Pages, requirePages } from './pages.ts';
export { type Alarm, alarmArmer, type Bell, Poller } from './poller.ts';
export { type Received, requireSockets, type UnixSockets } from './sockets.ts';
export { requireUrings } from './uring.ts';
