import {
  VIRTIO_REGION_ADDRESS,
  VIRTIO_REGION_BYTES,
  VIRTIO_REGION_GUEST,
  VIRTIO_REGION_SIZE,
  VIRTIO_REGIONS_COUNT,
  VIRTIO_REGIONS_FIRST,
  VIRTIO_REGIONS_MAX,
} from './layout.ts';

/**
 * Arena address of the `length` bytes at guest address `guest`; 0 when they do not lie in one region. Every address that
 * a peer gives passes here, and nowhere else becomes one of ours.
 */
export function translate(regions: u32, guest: u64, length: u32): u32 {
  const count = min(load<u32>(regions, VIRTIO_REGIONS_COUNT), VIRTIO_REGIONS_MAX);
  let region = regions + VIRTIO_REGIONS_FIRST;
  for (let i: u32 = 0; i < count; i++) {
    const start = load<u64>(region, VIRTIO_REGION_GUEST);
    const size = load<u64>(region, VIRTIO_REGION_SIZE);
    // Subtractions only, each known not to wrap: `guest + length` could.
    if (guest >= start && guest - start <= size && length <= size - (guest - start)) {
      return load<u32>(region, VIRTIO_REGION_ADDRESS) + <u32>(guest - start);
    }
    region += VIRTIO_REGION_BYTES;
  }
  return 0;
}

/**
 * Guest address of the byte at arena address `address`, as a region has it: the other way round. 2^64 - 1 when none has.
 */
export function untranslate(regions: u32, address: u32): u64 {
  const count = min(load<u32>(regions, VIRTIO_REGIONS_COUNT), VIRTIO_REGIONS_MAX);
  let region = regions + VIRTIO_REGIONS_FIRST;
  for (let i: u32 = 0; i < count; i++) {
    const start = load<u32>(region, VIRTIO_REGION_ADDRESS);
    if (address >= start && <u64>(address - start) < load<u64>(region, VIRTIO_REGION_SIZE)) {
      return load<u64>(region, VIRTIO_REGION_GUEST) + (address - start);
    }
    region += VIRTIO_REGION_BYTES;
  }
  return ~(<u64>0);
}

/** `translate` for TypeScript: the guest address in two words, since no u64 crosses to it cheaply. */
export function translateWords(regions: u32, low: u32, high: u32, length: u32): u32 {
  return translate(regions, ((<u64>high) << 32) | low, length);
}
