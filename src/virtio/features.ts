import { RingwayError } from '../util/errors.ts';
import { suggest } from '../util/nearest.ts';

/**
 * Feature bits that all device types share, by the name behind `VIRTIO_F_` (virtio 1.1, 6 and 6.3; 39 to 41 virtio 1.2
 * and 1.3, 6).
 */
export const VIRTIO_F = {
  NOTIFY_ON_EMPTY: 24,
  ANY_LAYOUT: 27,
  RING_INDIRECT_DESC: 28,
  RING_EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
} as const;

/** The feature bits of a device type by name, and what stands before the names in the specification. */
export interface FeatureNames {
  /** `VIRTIO_NET_F_`. */
  readonly prefix: string;
  readonly bits: Readonly<Record<string, number>>;
}

/** A bit that is of no use without one of `needs`. A bit that needs several has a rule for each. */
export interface FeatureRule {
  readonly bit: number;
  readonly needs: readonly number[];
}

const COMMON: FeatureNames = { prefix: 'VIRTIO_F_', bits: VIRTIO_F };
/** Bits that the transports have room for: 4 words of 32 (virtio 1.4, 2.2). */
const BITS_MAX = 128;
/** The registers of the legacy interface hold so many bits (virtio 1.1, 4.1.4.8). */
export const LEGACY_FEATURES = 0xffff_ffffn;

/** The mask in which exactly these bits are set. Bits: 0 to 127. */
export function featureMask(...bits: number[]): bigint {
  return bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
}

/** True when `bit` is set in `mask`. */
export function hasFeature(mask: bigint, bit: number): boolean {
  return ((mask >> BigInt(bit)) & 1n) === 1n;
}

function nameOf(bit: number, tables: readonly FeatureNames[]): string {
  for (const { prefix, bits } of tables) {
    const found = Object.entries(bits).find(([, candidate]) => candidate === bit);
    if (found !== undefined) return prefix + found[0];
  }
  return `bit ${bit}`;
}

/** The name of `bit`; `bit 99` when neither the device type nor virtio itself has one for it. */
export function featureName(bit: number, type?: FeatureNames): string {
  return nameOf(bit, type === undefined ? [COMMON] : [type, COMMON]);
}

/** The names of all bits that are set in `mask`, the lowest first, as `parseFeatures` reads them. */
export function featureNames(mask: bigint, type?: FeatureNames): string[] {
  const names: string[] = [];
  for (let bit = 0, rest = mask; rest !== 0n; bit++, rest >>= 1n) {
    if ((rest & 1n) === 1n) names.push(featureName(bit, type));
  }
  return names;
}

/**
 * The mask of the features named: `VIRTIO_F_VERSION_1`, a name of the device type, or `bit 99` for one without a name.
 * @throws RingwayError `BAD_ARGUMENT` for a name that is none, or a bit above 127.
 */
export function parseFeatures(names: Iterable<string>, type?: FeatureNames): bigint {
  const known = new Map<string, number>();
  for (const { prefix, bits } of type === undefined ? [COMMON] : [COMMON, type]) {
    for (const [name, bit] of Object.entries(bits)) known.set(prefix + name, bit);
  }
  let mask = 0n;
  for (const name of names) {
    const number = /^bit (\d{1,3})$/.exec(name)?.[1];
    const bit = number === undefined ? known.get(name) : Number(number);
    if (bit === undefined || bit >= BITS_MAX) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `features: ${JSON.stringify(name)} is neither a feature nor "bit N" with N from 0 to ${BITS_MAX - 1}; ${suggest(name, [...known.keys()])}`,
      );
    }
    mask |= featureMask(bit);
  }
  return mask;
}

/** The first rule that `mask` breaks: it has the bit and none of those that the bit needs. */
export function brokenRule(mask: bigint, rules: readonly FeatureRule[]): FeatureRule | undefined {
  return rules.find(({ bit, needs }) => hasFeature(mask, bit) && (mask & featureMask(...needs)) === 0n);
}

/** `mask` without the bits that lack what they need, so that no rule is broken (virtio 1.1, 2.2.1). */
export function withoutOrphans(mask: bigint, rules: readonly FeatureRule[]): bigint {
  let left = mask;
  for (let rule = brokenRule(left, rules); rule !== undefined; rule = brokenRule(left, rules)) {
    left &= ~featureMask(rule.bit);
  }
  return left;
}
