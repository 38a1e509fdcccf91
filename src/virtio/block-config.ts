import { ConfigSpace } from './config-space.ts';
import { type FeatureNames, type FeatureRule, hasFeature } from './features.ts';
import { readConfig } from './negotiate.ts';
import type { VirtioTransport } from './transport.ts';

/** Feature bits of the block device, by the name behind `VIRTIO_BLK_F_` (virtio 1.1, 5.2.3; 12, 15, 16 virtio 1.2). */
export const VIRTIO_BLK_F = {
  BARRIER: 0,
  SIZE_MAX: 1,
  SEG_MAX: 2,
  GEOMETRY: 4,
  RO: 5,
  BLK_SIZE: 6,
  SCSI: 7,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
  LIFETIME: 15,
  SECURE_ERASE: 16,
} as const;

/** Their names, for messages. */
export const BLOCK_FEATURE_NAMES: FeatureNames = { prefix: 'VIRTIO_BLK_F_', bits: VIRTIO_BLK_F };
/** 5.2.5.2: a cache that is switched can be flushed. */
export const BLOCK_RULES: readonly FeatureRule[] = [{ bit: VIRTIO_BLK_F.CONFIG_WCE, needs: [VIRTIO_BLK_F.FLUSH] }];

/** The unit of everything on the wire, whatever the block size (5.2.4). */
export const SECTOR_BYTES = 512;

/** struct virtio_blk_config (virtio 1.1, 5.2.4; num_queues virtio 1.2): where its fields are. */
const CAPACITY = 0;
const SIZE_MAX = 8;
const SEG_MAX = 12;
const BLK_SIZE = 20;
const PHYSICAL_BLOCK_EXP = 24;
const MIN_IO_SIZE = 26;
const NUM_QUEUES = 34;
const MAX_DISCARD_SECTORS = 36;
const MAX_DISCARD_SEG = 40;
const DISCARD_SECTOR_ALIGNMENT = 44;
const MAX_WRITE_ZEROES_SECTORS = 48;
const MAX_WRITE_ZEROES_SEG = 52;
const CONFIG_BYTES = 60;
/** A page: what hosts read and write at once. */
const PHYSICAL_BYTES = 4096;

/** What a block device says of itself. */
export interface BlockGeometry {
  /** Sectors of 512 bytes. */
  readonly sectors: number;
  /** What drivers keep to so that no request takes long; longer ones are served all the same. */
  readonly segmentBytes: number;
  readonly segments: number;
  /** Bytes that drivers read and write at once at least: 512 to 4096, a power of two. */
  readonly blockBytes: number;
  readonly queues: number;
  /** Sectors of a range of a discard or write-zeroes request, and ranges of one. */
  readonly rangeSectors: number;
  readonly ranges: number;
}

/** Makes the configuration space of a block device. */
export function makeBlockConfig(geometry: BlockGeometry): ConfigSpace {
  const { sectors, segmentBytes, segments, blockBytes, queues, rangeSectors, ranges } = geometry;
  const config = new ConfigSpace(CONFIG_BYTES);
  config.update((fields) => {
    fields.setBigUint64(CAPACITY, BigInt(sectors), true);
    fields.setUint32(SIZE_MAX, segmentBytes, true);
    fields.setUint32(SEG_MAX, segments, true);
    fields.setUint32(BLK_SIZE, blockBytes, true);
    fields.setUint8(PHYSICAL_BLOCK_EXP, Math.log2(PHYSICAL_BYTES / blockBytes));
    fields.setUint16(MIN_IO_SIZE, PHYSICAL_BYTES / blockBytes, true);
    fields.setUint16(NUM_QUEUES, queues, true);
    fields.setUint32(MAX_DISCARD_SECTORS, rangeSectors, true);
    fields.setUint32(MAX_DISCARD_SEG, ranges, true);
    fields.setUint32(DISCARD_SECTOR_ALIGNMENT, blockBytes / SECTOR_BYTES, true);
    fields.setUint32(MAX_WRITE_ZEROES_SECTORS, rangeSectors, true);
    fields.setUint32(MAX_WRITE_ZEROES_SEG, ranges, true);
  });
  return config;
}

/** What a driver reads of a block device; undefined for fields whose feature is not there. */
export interface BlockInfo {
  /** Sectors of 512 bytes. */
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly segmentBytes: number | undefined;
  readonly segments: number | undefined;
  readonly blockBytes: number | undefined;
  readonly physicalBlockBytes: number | undefined;
  readonly queues: number;
  readonly discard: { readonly sectors: number; readonly ranges: number } | undefined;
  readonly writeZeroes: { readonly sectors: number; readonly ranges: number } | undefined;
}

/**
 * Reads a block device's configuration as a driver with `features` may (5.2.5).
 * @throws RingwayError `UNSUPPORTED` when the space is too short for the fields that there must be.
 */
export function readBlockInfo(transport: VirtioTransport, name: string, features: bigint): BlockInfo {
  const has = (bit: number): boolean => hasFeature(features, bit);
  // 2.4.1: each field only when its feature is there. They are read one by one, since none needs another.
  const u32 = (bit: number, at: number): number | undefined =>
    has(bit) ? readConfig(transport, name, at, 4).getUint32(0, true) : undefined;
  const blockBytes = u32(VIRTIO_BLK_F.BLK_SIZE, BLK_SIZE);
  const limits = (bit: number, at: number): BlockInfo['discard'] =>
    has(bit) ? { sectors: u32(bit, at) ?? 0, ranges: u32(bit, at + 4) ?? 0 } : undefined;
  const exponent = has(VIRTIO_BLK_F.TOPOLOGY)
    ? readConfig(transport, name, PHYSICAL_BLOCK_EXP, 1).getUint8(0)
    : undefined;
  return {
    sectors: Number(readConfig(transport, name, CAPACITY, 8).getBigUint64(0, true)),
    readOnly: has(VIRTIO_BLK_F.RO),
    segmentBytes: u32(VIRTIO_BLK_F.SIZE_MAX, SIZE_MAX),
    segments: u32(VIRTIO_BLK_F.SEG_MAX, SEG_MAX),
    blockBytes,
    physicalBlockBytes: exponent === undefined ? undefined : (blockBytes ?? SECTOR_BYTES) * 2 ** exponent,
    queues: has(VIRTIO_BLK_F.MQ) ? readConfig(transport, name, NUM_QUEUES, 2).getUint16(0, true) : 1,
    discard: limits(VIRTIO_BLK_F.DISCARD, MAX_DISCARD_SECTORS),
    writeZeroes: limits(VIRTIO_BLK_F.WRITE_ZEROES, MAX_WRITE_ZEROES_SECTORS),
  };
}
