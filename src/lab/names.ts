/** Names of all benches, in the order in which they run. */
export const BENCH_NAMES = [
  'ring',
  'pool',
  'tso',
  'block',
  'forward',
  'replay',
  'memory',
  'virtqueue',
  'vhost',
  'pvp',
  'eventdev',
  'balance',
  'scale',
  'keyed',
  'atomic',
  'xdp',
] as const;
