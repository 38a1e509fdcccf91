import { createArena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { Random } from '../util/random.ts';
import { BlockDevice } from '../virtio/block.ts';
import { BlockDriver } from '../virtio/block-driver.ts';
import { VirtioDevice } from '../virtio/device.ts';
import { featureMask, VIRTIO_F } from '../virtio/features.ts';
import { VIRTIO_BLK_T_IN } from '../virtio/layout.ts';
import { DRIVER_RING_FEATURES, negotiate, setUpQueue, startDevice } from '../virtio/negotiate.ts';
import { createRegionTable } from '../virtio/regions.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import { measure } from './measure.ts';
import { type Row, rowOf } from './row.ts';

const DEPTH = 32;
const BLOCK_BYTES = 4096;
const BLOCK_SECTORS = 8;
/** 64 MiB: more than the caches hold. */
const BLOCKS = 16384;
const QUEUE_SIZE = 128;

/** One turn: 32 reads of random blocks, submitted, served, polled, and the first word of each checked. */
function makeTurn(layout: VirtqueueLayout): () => void {
  const arena = createArena({ bytes: BLOCKS * BLOCK_BYTES + (4 << 20) });
  const { u32 } = arena;
  const image = arena.allocate('image', BLOCKS * BLOCK_BYTES, BLOCK_BYTES);
  for (let block = 0; block < BLOCKS; block++) u32[(image + block * BLOCK_BYTES) >>> 2] = block ^ 0x5bd1e995;
  const data = arena.allocate('data', DEPTH * BLOCK_BYTES, BLOCK_BYTES);
  const regions = createRegionTable(arena, 'regions');
  const { base } = arena.handle;
  regions.set([{ guest: BigInt(base), bytes: arena.bytes - base, address: base }]);
  const type = new BlockDevice(arena, {
    name: 'block',
    store: { address: image, bytes: BLOCKS * BLOCK_BYTES },
    queueSize: QUEUE_SIZE,
  });
  const host = { usedBuffers: () => {}, configChanged: () => {} };
  const device = new VirtioDevice(arena, { name: 'device', type, regions, host });
  const packed = layout === 'packed' ? 0n : featureMask(VIRTIO_F.RING_PACKED);
  const features = negotiate(device, { name: 'bench', supported: type.features | (DRIVER_RING_FEATURES & ~packed) });
  const { driver: queue } = setUpQueue(arena, device, { name: 'queue', index: 0, features });
  const notify = (): void => {
    device.notify(0);
  };
  const driver = new BlockDriver(arena, { name: 'driver', queue, notify });
  startDevice(device, 'bench');

  const random = new Random(1);
  const wanted = new Uint32Array(QUEUE_SIZE);
  const places = new Uint32Array(QUEUE_SIZE);
  return () => {
    for (let i = 0; i < DEPTH; i++) {
      const block = random.below(BLOCKS);
      const place = data + i * BLOCK_BYTES;
      const tag = driver.submit(VIRTIO_BLK_T_IN, block * BLOCK_SECTORS, place, BLOCK_BYTES);
      wanted[tag] = block ^ 0x5bd1e995;
      places[tag] = place;
    }
    driver.flushBatch();
    const n = driver.poll();
    let wrong = DEPTH - n;
    for (let i = 0; i < n; i++) {
      const tag = driver.tags[i] ?? 0;
      const good = driver.statuses[i] === 0 && u32[(places[tag] ?? 0) >>> 2] === wanted[tag];
      if (!good) wrong++;
    }
    if (wrong > 0) throw new RingwayError('SYSTEM', `bench block: ${wrong} of ${DEPTH} reads were answered wrongly`);
  };
}

/**
 * The block device over a memory image: 4 KiB reads at random, 32 at a time, through a virtqueue; the driver and the
 * device on one core. Every answer is checked. Samples are 32 reads.
 */
export async function benchBlock(): Promise<Row[]> {
  const row = (layout: VirtqueueLayout): Row => {
    const { value, ...rest } = measure(DEPTH, makeTurn(layout));
    const rate = value === null ? null : 1000 / value;
    return rowOf({ name: `block, 4 KiB reads, ${layout}`, unit: 'M/s', value: rate, ...rest, state: 'one core' }, null);
  };
  return [row('split'), row('packed')];
}
