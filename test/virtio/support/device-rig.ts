import type { Arena } from 'ringway/memory';
import {
  ConfigSpace,
  createRegionTable,
  type DeviceSession,
  type DeviceType,
  type RegionTable,
  VirtioDevice,
  type VirtioDeviceOptions,
  type VirtqueueDevice,
} from 'ringway/virtio';
import { testArena } from '../../support/arena.ts';
import { GUEST_OFFSET } from './rig.ts';

/** Bits of the device type below: B needs A, and HIGH and TOP are where a Number would not do. */
export const A = 0;
export const B = 1;
export const HIGH = 64;
export const TOP = 127;
export const TEST_NAMES = { prefix: 'TEST_F_', bits: { A, B, HIGH, TOP } };
export const TEST_RULES = [{ bit: B, needs: [A] }];

/** A device type that writes down what it is told, and returns every chain as it is. */
export class TestType implements DeviceType {
  readonly name = 'test';
  readonly id = 42;
  readonly features = (1n << BigInt(A)) | (1n << BigInt(B)) | (1n << BigInt(HIGH)) | (1n << BigInt(TOP));
  readonly featureNames = TEST_NAMES;
  readonly rules = TEST_RULES;
  readonly config = new ConfigSpace(8);
  readonly log: string[] = [];
  live: (VirtqueueDevice | undefined)[] = [];
  session: DeviceSession | undefined;
  objection: string | undefined;

  queues(features: bigint): readonly number[] {
    return features & 1n ? [8, 16] : [8];
  }

  validate(): string | undefined {
    return this.objection;
  }

  start(features: bigint, queues: readonly (VirtqueueDevice | undefined)[], session: DeviceSession): void {
    this.log.push(`start ${features.toString(16)} ${queues.map((queue) => Number(queue !== undefined)).join('')}`);
    this.live = [...queues];
    this.session = session;
  }

  stop(): void {
    this.log.push('stop');
    this.live = [];
  }

  enableQueue(index: number, queue: VirtqueueDevice): void {
    this.log.push(`enable ${index}`);
    this.live[index] = queue;
  }

  resetQueue(index: number): void {
    this.log.push(`reset ${index}`);
    this.live[index] = undefined;
  }

  notify(index: number): boolean {
    this.log.push(`notify ${index}`);
    return false;
  }

  writeConfig(offset: number): boolean {
    return offset === 0;
  }
}

/** A device in an arena that all is reachable in, at guest addresses above 2^32, and what it told its driver. */
export interface DeviceRig {
  readonly arena: Arena;
  readonly regions: RegionTable;
  readonly device: VirtioDevice;
  /** Queues whose driver was notified, in order. */
  readonly used: number[];
  /** Configuration change notifications so far. */
  configChanges(): number;
}

export function makeDeviceRig(
  make: (arena: Arena) => DeviceType,
  options: Partial<VirtioDeviceOptions> & { bytes?: number; base?: number } = {},
): DeviceRig {
  const { bytes = 4 << 20, base = 65536, ...rest } = options;
  const arena = testArena(bytes, base);
  const regions = createRegionTable(arena, 'regions');
  regions.set([{ guest: GUEST_OFFSET + BigInt(base), bytes: arena.bytes - base, address: base }]);
  const used: number[] = [];
  let changes = 0;
  const host = {
    usedBuffers: (index: number): void => {
      used.push(index);
    },
    configChanged: (): void => {
      changes++;
    },
  };
  const device = new VirtioDevice(arena, { name: 'dev', type: make(arena), regions, host, ...rest });
  return { arena, regions, device, used, configChanges: () => changes };
}
