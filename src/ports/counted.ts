import type { Arena } from '../memory/arena.ts';
import type { Port } from './port.ts';

interface CountKernels {
  telemetryCountRx(counters: number, slots: number, count: number, port: number): void;
  telemetryCountTx(counters: number, count: number, bytes: number): void;
  telemetryBurstBytes(slots: number, count: number): number;
}

/**
 * Counts what goes through `port`: the innermost layer of a port, so that middleware around it is counted apart.
 * @param counters address of the port's counters on the serving lcore.
 */
export function countedPort(arena: Arena, port: Port, index: number, counters: number): Port {
  const { telemetryCountRx, telemetryCountTx, telemetryBurstBytes } = arena.kernels<CountKernels>();
  return {
    info: () => port.info(),
    close: () => port.close(),
    set: (name, value) => port.set?.(name, value),
    rxBurst(slots, max) {
      const n = port.rxBurst(slots, max);
      if (n > 0) telemetryCountRx(counters, slots, n, index);
      return n;
    },
    txBurst(slots, count) {
      const bytes = telemetryBurstBytes(slots, count);
      const n = port.txBurst(slots, count);
      if (n > 0)
        telemetryCountTx(counters, n, n === count ? bytes : bytes - telemetryBurstBytes(slots + n * 16, count - n));
      return n;
    },
  };
}
