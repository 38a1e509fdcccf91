import fc from 'fast-check';
import {
  BLOCK_FEATURE_NAMES,
  featureMask,
  featureNames,
  hasFeature,
  NET_FEATURE_NAMES,
  NET_RULES,
  netHeaderBytes,
  parseFeatures,
  VIRTIO_BLK_F,
  VIRTIO_F,
  VIRTIO_NET_F,
} from 'ringway/virtio';
import { expect, test } from 'vitest';
import { brokenRule, withoutOrphans } from '#build/virtio/features.js';

test('names and masks lead to each other, above bit 63 too', () => {
  const mask = featureMask(0, 32, 34, 63, 64, 127);
  const names = featureNames(mask, NET_FEATURE_NAMES);
  expect(names).toEqual([
    'VIRTIO_NET_F_CSUM',
    'VIRTIO_F_VERSION_1',
    'VIRTIO_F_RING_PACKED',
    'VIRTIO_NET_F_SPEED_DUPLEX',
    'VIRTIO_NET_F_RSS_CONTEXT',
    'bit 127',
  ]);
  expect(parseFeatures(names, NET_FEATURE_NAMES)).toBe(mask);
  expect(featureNames(featureMask(9), BLOCK_FEATURE_NAMES)).toEqual(['VIRTIO_BLK_F_FLUSH']);
  expect(featureNames(featureMask(9))).toEqual(['bit 9']);
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (any) => {
      expect(parseFeatures(featureNames(any, NET_FEATURE_NAMES), NET_FEATURE_NAMES)).toBe(any);
    }),
  );
});

test('what is no feature is refused with the name that was meant', () => {
  expect(() => parseFeatures(['VIRTIO_NET_F_CSUMM'], NET_FEATURE_NAMES)).toThrow(/did you mean "VIRTIO_NET_F_CSUM"/);
  expect(() => parseFeatures(['bit 128'])).toThrow(/N from 0 to 127/);
  expect(() => parseFeatures(['VIRTIO_NET_F_CSUM'])).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
});

test('bits have the numbers of the specification', () => {
  // virtio 1.1, 6, 5.1.3 and 5.2.3; virtio 1.2, 5.1.3: the numbers that a slip would make another feature of.
  const { VERSION_1, RING_PACKED, RING_RESET, IN_ORDER } = VIRTIO_F;
  expect([VERSION_1, RING_PACKED, IN_ORDER, RING_RESET]).toEqual([32, 34, 35, 40]);
  const { MRG_RXBUF, CTRL_VQ, CTRL_RX_EXTRA, MQ, HASH_REPORT, RSS } = VIRTIO_NET_F;
  expect([MRG_RXBUF, CTRL_VQ, CTRL_RX_EXTRA, MQ, HASH_REPORT, RSS]).toEqual([15, 17, 20, 22, 57, 60]);
  const { RO, FLUSH, DISCARD, WRITE_ZEROES } = VIRTIO_BLK_F;
  expect([RO, FLUSH, DISCARD, WRITE_ZEROES]).toEqual([5, 9, 13, 14]);
});

test.each([
  ['HOST_TSO4', 'CSUM'],
  ['GUEST_TSO6', 'GUEST_CSUM'],
  ['GUEST_UFO', 'GUEST_CSUM'],
  ['MQ', 'CTRL_VQ'],
  ['RSS', 'CTRL_VQ'],
  ['HASH_REPORT', 'CTRL_VQ'],
  ['GUEST_ANNOUNCE', 'CTRL_VQ'],
] as const)('%s needs %s (5.1.3.1)', (bit, need) => {
  const alone = featureMask(VIRTIO_NET_F[bit]);
  expect(brokenRule(alone, NET_RULES)).toEqual({ bit: VIRTIO_NET_F[bit], needs: [VIRTIO_NET_F[need]] });
  expect(brokenRule(alone | featureMask(VIRTIO_NET_F[need]), NET_RULES)).toBeUndefined();
});

test('ECN needs either kind of segmentation, and that its checksum', () => {
  const { HOST_ECN, HOST_TSO4, HOST_TSO6, CSUM } = VIRTIO_NET_F;
  for (const tso of [HOST_TSO4, HOST_TSO6]) {
    expect(brokenRule(featureMask(HOST_ECN, tso, CSUM), NET_RULES)).toBeUndefined();
  }
  expect(brokenRule(featureMask(HOST_ECN, CSUM), NET_RULES)?.needs).toEqual([HOST_TSO4, HOST_TSO6]);
  // Without CSUM, TSO4 goes, and ECN after it.
  expect(withoutOrphans(featureMask(HOST_ECN, HOST_TSO4, 40), NET_RULES)).toBe(featureMask(40));
});

test('what is left without orphans breaks no rule, and is the most that does not', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 70n) - 1n }), (mask) => {
      const left = withoutOrphans(mask, NET_RULES);
      expect(brokenRule(left, NET_RULES)).toBeUndefined();
      expect(left & ~mask).toBe(0n);
      // Any bit that went is refused when it is put back.
      for (let bit = 0; bit < 70; bit++) {
        if (hasFeature(mask & ~left, bit)) expect(brokenRule(left | featureMask(bit), NET_RULES)).toBeDefined();
      }
    }),
  );
});

test('the header before a packet has 10, 12 or 20 bytes', () => {
  const { MRG_RXBUF, HASH_REPORT } = VIRTIO_NET_F;
  expect(netHeaderBytes(0n)).toBe(10);
  expect(netHeaderBytes(featureMask(MRG_RXBUF))).toBe(12);
  expect(netHeaderBytes(featureMask(VIRTIO_F.VERSION_1))).toBe(12);
  expect(netHeaderBytes(featureMask(VIRTIO_F.VERSION_1, HASH_REPORT))).toBe(20);
});
