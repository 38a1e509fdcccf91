import {
  BLOCK_FEATURE_NAMES,
  BlockDevice,
  type BlockDeviceOptions,
  BlockDriver,
  type BlockFile,
  DRIVER_RING_FEATURES,
  type DriverQueue,
  featureMask,
  negotiate,
  setUpQueue,
  startDevice,
  VIRTIO_F,
  type VirtqueueLayout,
} from 'ringway/virtio';
import { type DeviceRig, makeDeviceRig } from './device-rig.ts';
import { GUEST_OFFSET } from './rig.ts';

/** A block device and its driver, with a buffer for data between them. */
export interface BlockRig extends DeviceRig {
  readonly block: BlockDevice;
  readonly driver: BlockDriver;
  readonly queue: DriverQueue;
  readonly features: bigint;
  /** Arena address of the memory image; 0 when a file holds the sectors. */
  readonly image: number;
  readonly data: number;
  /** Runs a request of the driver's and polls until it is settled. */
  settle<T>(request: Promise<T>): Promise<T>;
}

export interface BlockRigOptions extends Omit<Partial<BlockDeviceOptions>, 'store'> {
  readonly layout?: VirtqueueLayout | 'legacy';
  /** In place of a memory image. */
  readonly file?: BlockFile;
  readonly sectors?: number;
  readonly dataBytes?: number;
  /** Feature bits that the driver does not know. */
  readonly without?: readonly number[];
  readonly size?: number;
}

export function makeBlockRig(options: BlockRigOptions = {}): BlockRig {
  const { layout = 'split', file, sectors = 256, dataBytes = 65536, without = [], size = 64, ...rest } = options;
  let image = 0;
  let block: BlockDevice | undefined;
  const rig = makeDeviceRig(
    (arena) => {
      if (file === undefined) image = arena.allocate('image', sectors * 512);
      const store = file ?? { address: image, bytes: sectors * 512 };
      block = new BlockDevice(arena, { name: 'block', store, queueSize: 64, ...rest });
      return block;
    },
    { bytes: (8 << 20) + sectors * 512 + dataBytes },
  );
  const { arena, device } = rig;
  const hidden = [...without];
  if (layout === 'split') hidden.push(VIRTIO_F.RING_PACKED);
  if (layout === 'legacy') hidden.push(VIRTIO_F.VERSION_1);
  const features = negotiate(device, {
    name: 'block driver',
    supported: (0xff_ffffn | DRIVER_RING_FEATURES) & ~featureMask(...hidden),
    featureNames: BLOCK_FEATURE_NAMES,
  });
  const queue = setUpQueue(arena, device, { name: 'q', index: 0, features, size, guestOffset: GUEST_OFFSET });
  const notify = (): void => {
    device.notify(0);
  };
  const driver = new BlockDriver(arena, { name: 'driver', queue: queue.driver, notify });
  const data = arena.allocate('data', dataBytes);
  startDevice(device, 'block driver');
  return {
    ...rig,
    block: block as unknown as BlockDevice,
    driver,
    queue,
    features,
    image,
    data,
    settle: async (request) => {
      request.catch(() => {});
      driver.poll();
      return request;
    },
  };
}
