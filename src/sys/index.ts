/**
 * Linux system calls: the only user of the foreign function interface. Everything else works without it.
 *
 * @example
 * if (sysAvailable()) requireSys('pinning a thread').pinThread(1);
 *
 * @module
 */
export { requireSys, type Sys, sysAvailable } from './linux.ts';
