import type { ModelParameters } from '../dma/model-parameters.ts';

/**
 * A device of the kind of Intel's Data Streaming Accelerator, in round numbers: 30 GB/s, the rate that Kuper and others report of
 * one ("A Quantitative Analysis and Guidelines of Data Streaming Accelerator in Modern Intel Xeon Scalable Processors", arXiv
 * 2305.02480); four units, a work queue of 128, some 600 ns for a short copy. Benches take these as they are: no figure is a
 * reason to change them.
 */
export const DSA: ModelParameters = { bandwidth: 30e9, latencyNs: 600, descriptorNs: 40, units: 4, workQueue: 128 };

/** The same, for a row's note. */
export const DSA_TEXT = `${DSA.bandwidth / 1e9} GB/s, ${DSA.latencyNs} ns, ${DSA.descriptorNs} ns a descriptor, ${DSA.units} units, work queue ${DSA.workQueue}`;
