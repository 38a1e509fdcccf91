import { createArena } from '../memory/arena.ts';
import { BURST_MAX } from '../memory/layout.ts';
import { createRegionTable } from '../virtio/regions.ts';
import { measure } from './measure.ts';
import { type Row, rowOf } from './row.ts';

/** As a guest of QEMU has: memory below and above the hole under 4 GiB. */
const REGIONS = 2;
const REGION_BYTES = 1 << 20;

interface AddressKernels {
  labChecked(regions: number, addresses: number, n: number, length: number): number;
  labUnchecked(offset: number, addresses: number, n: number, length: number): number;
}

/**
 * What it costs to check that a guest's address lies in its memory, beside an addition that trusts it; as a share of a
 * frame's way from a guest to the host on one core, on which there is one address.
 * @param frameNs what that way takes, in ns.
 */
export function addressCheck(frameNs: number): Row {
  const arena = createArena({ bytes: 4 << 20 });
  const memory = arena.allocate('memory', REGIONS * REGION_BYTES);
  const regions = createRegionTable(arena, 'regions');
  const guest = (i: number): bigint => BigInt(i) * 0x1_0000_0000n;
  regions.set(
    Array.from({ length: REGIONS }, (_, i) => ({
      guest: guest(i),
      bytes: REGION_BYTES,
      address: memory + i * REGION_BYTES,
    })),
  );
  const addresses = arena.allocate('addresses', BURST_MAX * 8);
  for (let i = 0; i < BURST_MAX; i++) {
    arena.u32.set([i * 2048, i % REGIONS], (addresses >>> 2) + i * 2);
  }
  const { labChecked, labUnchecked } = arena.kernels<AddressKernels>();
  const checked = measure(BURST_MAX, () => labChecked(regions.address, addresses, BURST_MAX, 76));
  const unchecked = measure(BURST_MAX, () => labUnchecked(memory, addresses, BURST_MAX, 76));
  const ns = (checked.value ?? Number.NaN) - (unchecked.value ?? Number.NaN);
  const value = (100 * ns) / frameNs;
  const note = [checked.note, unchecked.note, `${ns.toFixed(2)} ns of ${frameNs.toFixed(1)}`]
    .filter(Boolean)
    .join('; ');
  const none = { p50: null, p99: null, p999: null };
  return rowOf({ name: 'address checks', value, unit: '%', ...none, state: 'one core', note }, null);
}
