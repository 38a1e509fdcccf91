import type { Arena } from 'ringway/memory';
import {
  ControlQueueDriver,
  DRIVER_RING_FEATURES,
  type DriverQueue,
  NET_FEATURE_NAMES,
  NET_RULES,
  NetDevice,
  type NetDeviceOptions,
  negotiate,
  setUpQueue,
  startDevice,
} from 'ringway/virtio';
import { type DeviceRig, makeDeviceRig } from './device-rig.ts';
import { GUEST_OFFSET } from './rig.ts';

export const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);

/** A network device whose data path moves nothing and writes down what it is told, and its driver's control queue. */
export interface NetRig extends DeviceRig {
  readonly net: NetDevice;
  readonly log: string[];
  readonly features: bigint;
  readonly control: ControlQueueDriver;
  readonly queue: DriverQueue;
  /** Sends a command and settles it: true when the device accepted it. */
  command(command: number, ...data: number[]): Promise<boolean>;
}

export interface NetRigOptions extends Partial<NetDeviceOptions> {
  /** What the driver can do; all when not given. */
  readonly supported?: bigint;
  /** Bits of the data path. */
  readonly pathFeatures?: bigint;
}

export function makeNetRig(options: NetRigOptions = {}): NetRig {
  const { supported = (1n << 128n) - 1n, pathFeatures = 0n, ...rest } = options;
  const log: string[] = [];
  let net: NetDevice | undefined;
  const rig = makeDeviceRig((arena: Arena) => {
    const dataPath = {
      features: pathFeatures,
      start: (device: NetDevice) => {
        log.push(`start ${device.receive.length} ${device.transmit.length}`);
      },
      stop: () => {
        log.push('stop');
      },
      queueChanged: (index: number) => {
        log.push(`changed ${index}`);
      },
    };
    net = new NetDevice(arena, { name: 'net', mac: MAC, dataPath, ...rest });
    return net;
  });
  const { arena, device } = rig;
  const features = negotiate(device, {
    name: 'net driver',
    supported: supported & (((1n << 24n) - 1n) | DRIVER_RING_FEATURES | (~0n << 41n)),
    featureNames: NET_FEATURE_NAMES,
    rules: NET_RULES,
  });
  const made = net as unknown as NetDevice;
  const index = made.queues(features).length - 1;
  const queue = setUpQueue(arena, device, { name: 'control', index, features, guestOffset: GUEST_OFFSET });
  const control = new ControlQueueDriver(arena, {
    name: 'driver',
    queue: queue.driver,
    notify: () => device.notify(index),
  });
  startDevice(device, 'net driver');
  const command = async (code: number, ...data: number[]): Promise<boolean> => {
    const answer = control.send(code, Uint8Array.from(data)).then(
      () => true,
      () => false,
    );
    control.poll();
    return answer;
  };
  return { ...rig, net: made, log, features, control, queue, command };
}
