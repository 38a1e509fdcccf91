import { formatMac } from 'ringway/packet';
import { describe, expect, test } from 'vitest';
import { MAC_BUCKET_ENTRIES } from '#build/switch/layout.js';
import { BASES } from '../support/arena.ts';
import { EVERYTHING, portsOf, type RigOptions, START, SwitchRig } from '../support/switch-rig.ts';
import { BROADCAST, ethernet, stationBytes } from './support/ethernet.ts';

function makeRig(options: Partial<RigOptions> = {}): SwitchRig {
  return new SwitchRig({ ports: [EVERYTHING, EVERYTHING, EVERYTHING, EVERYTHING], ...options });
}

/** Makes the switch learn that a station is at `port`. */
function announce(rig: SwitchRig, station: number, port: number, vlan?: number, lcore = 0): void {
  rig.forward([{ port, bytes: ethernet(station, BROADCAST, vlan) }], lcore);
}

/** The ports that a frame from port 3 to a station goes to. */
function whereIs(rig: SwitchRig, station: number, vlan?: number, lcore = 0): number[] {
  return portsOf(rig.forward([{ port: 3, bytes: ethernet(99, station, vlan) }], lcore));
}

const FLOODED = [0, 1, 2];

describe.each(BASES)('with regions above address %i', (base) => {
  test('a station is found where it was last seen', () => {
    const rig = makeRig({ base });
    expect(whereIs(rig, 1)).toEqual(FLOODED);
    announce(rig, 1, 1);
    expect(whereIs(rig, 1)).toEqual([1]);
    announce(rig, 1, 2);
    expect(whereIs(rig, 1)).toEqual([2]);
    // The fourth is the asking station itself.
    expect(rig.switch.stats()).toMatchObject({ macs: 2, learned: 2, moved: 1, evicted: 0 });
  });

  test('one address in two VLANs is two stations', () => {
    const rig = makeRig({ base });
    announce(rig, 1, 1, 10);
    announce(rig, 1, 2, 20);
    announce(rig, 1, 0);
    expect([whereIs(rig, 1, 10), whereIs(rig, 1, 20), whereIs(rig, 1)]).toEqual([[1], [2], [0]]);
    expect(whereIs(rig, 1, 30)).toEqual(FLOODED);
    expect(rig.switch.stats().moved).toBe(0);
  });
});

test('a group address as source is not learned, nor is anything from a port that does not learn', () => {
  const rig = makeRig();
  rig.forward([{ port: 1, bytes: ethernet('03:00:00:00:00:01', BROADCAST) }]);
  rig.switch.setLearn(1, false);
  announce(rig, 1, 1);
  expect(rig.switch.stats()).toMatchObject({ macs: 0, learned: 0 });
  rig.switch.setLearn(1, true);
  announce(rig, 1, 1);
  expect(whereIs(rig, 1)).toEqual([1]);
});

describe('static addresses', () => {
  test('neither move nor age', () => {
    const rig = makeRig({ ageing: 10 });
    rig.switch.addStatic(stationBytes(1), 0, 2);
    announce(rig, 1, 1);
    expect(whereIs(rig, 1)).toEqual([2]);
    rig.setTime(START + 1_000_000);
    rig.switch.age(START + 1_000_000);
    expect(whereIs(rig, 1)).toEqual([2]);
    expect(rig.switch.stats().moved).toBe(0);
  });

  test('replace what was learned', () => {
    const rig = makeRig();
    announce(rig, 1, 1);
    rig.switch.addStatic(stationBytes(1), 0, 2);
    announce(rig, 1, 1);
    expect(whereIs(rig, 1)).toEqual([2]);
  });

  test('are refused when their places are taken by others, and never displaced', () => {
    const rig = makeRig({ macs: 64 });
    const { macsMax } = rig.switch.stats();
    let placed = 0;
    const fill = (): void => {
      for (; placed < 256; placed++) rig.switch.addStatic(stationBytes(placed), 5, 1);
    };
    expect(fill).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    expect(placed).toBeGreaterThan(macsMax / 2);
    for (let station = 0; station < 200; station++) announce(rig, station, 2, 5);
    for (let station = 0; station < placed; station++) expect(whereIs(rig, station, 5), `${station}`).toEqual([1]);
  });

  test('and mirrors are refused for ports that there are no places for', () => {
    const rig = makeRig();
    for (const port of [-1, 4, 255]) {
      expect(() => rig.switch.addStatic(stationBytes(1), 0, port)).toThrow(/switch: port .*must be from 0 to 3/);
      expect(() => rig.switch.addMirror(0, port, 'rx')).toThrow(/switch: port .*must be from 0 to 3/);
    }
  });
});

describe('ageing', () => {
  test('an address is forgotten once it was not seen for longer than the ageing time', () => {
    const rig = makeRig({ ageing: 10 });
    announce(rig, 1, 1);
    rig.setTime(START + 10);
    expect(whereIs(rig, 1)).toEqual([1]);
    rig.setTime(START + 11);
    expect(whereIs(rig, 1)).toEqual(FLOODED);
    announce(rig, 1, 1);
    rig.setTime(START + 21);
    expect(whereIs(rig, 1)).toEqual([1]);
  });

  test('the control thread removes what is too old, and only that', () => {
    const rig = makeRig({ ageing: 10 });
    announce(rig, 1, 1);
    rig.setTime(START + 8);
    announce(rig, 2, 2);
    rig.switch.age(START + 10);
    expect(rig.switch.stats()).toMatchObject({ macs: 2, aged: 0 });
    rig.switch.age(START + 11);
    expect(rig.switch.stats()).toMatchObject({ macs: 1, aged: 1 });
    expect(whereIs(rig, 2)).toEqual([2]);
    rig.switch.setAgeing(2);
    rig.setTime(START + 11);
    expect(whereIs(rig, 2)).toEqual(FLOODED);
  });

  test('an address seen by an lcore whose clock is ahead is fresh', () => {
    const rig = makeRig({ ageing: 10, lcores: 2 });
    rig.setTime(START + 1, 0, 1);
    announce(rig, 1, 1, undefined, 1);
    rig.switch.age(START);
    expect(rig.switch.stats()).toMatchObject({ macs: 1, aged: 0 });
    expect(whereIs(rig, 1)).toEqual([1]);
  });

  test('ages are right while the seconds pass 2^31 and 2^32', () => {
    for (const turn of [2 ** 31, 2 ** 32]) {
      const rig = makeRig({ ageing: 10 });
      rig.setTime(turn - 2);
      announce(rig, 1, 1);
      rig.setTime(turn + 8);
      expect(whereIs(rig, 1)).toEqual([1]);
      rig.setTime(turn + 9);
      expect(whereIs(rig, 1)).toEqual(FLOODED);
    }
  });
});

describe('a full table', () => {
  test('gives up the address that was not seen for longest, and counts it', () => {
    const rig = makeRig({ macs: 64, ageing: 1000 });
    const { macsMax } = rig.switch.stats();
    for (let second = 0; second < 5; second++) {
      rig.setTime(START + second);
      for (let i = 0; i < 250; i++) announce(rig, i, 1, second + 1);
    }
    const { macs, learned, evicted } = rig.switch.stats();
    expect(learned).toBe(5 * 250);
    expect(evicted).toBe(learned - macs);
    expect(macs).toBe(macsMax);
    // The last 128 of one second have displaced all that is older, but for those of the same second.
    const known = (vlan: number): number =>
      Array.from({ length: 250 }, (_, i) => whereIs(rig, i, vlan).length === 1).filter(Boolean).length;
    rig.switch.setLearn(3, false);
    expect(known(5)).toBeGreaterThan(known(4));
    expect([known(1), known(2)]).toEqual([0, 0]);
  });

  test('displaces what is oldest, not what an lcore with a faster clock has just seen', () => {
    const rig = makeRig({ macs: 64, ageing: 1000, lcores: 2 });
    rig.setTime(START + 1, 0, 1);
    // As many as fit comfortably, by the lcore that is ahead; then more than fit, by the other.
    for (let i = 0; i < 30; i++) announce(rig, i, 1, 1, 1);
    for (let i = 0; i < 250; i++) {
      rig.setTime(START, 0, 0);
      announce(rig, i, 2, 2, 0);
    }
    rig.switch.setLearn(3, false);
    const kept = Array.from({ length: 30 }, (_, i) => whereIs(rig, i, 1).length === 1).filter(Boolean).length;
    expect(kept).toBe(30);
  });

  test('holds as many addresses as it was made for', () => {
    for (const macs of [64, 100, 1000]) {
      const rig = makeRig({ macs });
      for (let i = 0; i < macs; i++) announce(rig, i & 255, 1, (i >> 8) + 1);
      expect(rig.switch.stats()).toMatchObject({ macs, evicted: 0 });
      expect(rig.switch.stats().macsMax).toBeGreaterThanOrEqual(macs * 2);
      expect(rig.switch.stats().macsMax % MAC_BUCKET_ENTRIES).toBe(0);
    }
  });
});

test.each<[string, (index: number) => number]>([
  ['one after the other', (index) => 0x020000000000 + index],
  ['in steps of 256', (index) => 0x020000000001 + index * 2 ** 8],
  ['in steps of 65,536', (index) => 0x020000000001 + index * 2 ** 16],
  ['of many vendors', (index) => 2 * index * 2 ** 24 + 5],
  ['with even bytes only', (index) => 0x020000000000 + (index & 63) * 2 + (index >>> 6) * 512],
])('addresses %s are spread over the table as any others', (_, addressAt) => {
  const macs = 8192;
  const rig = makeRig({ macs });
  for (let first = 0; first < macs; first += 32) {
    const inputs = Array.from({ length: 32 }, (_, i) => ({
      port: 0,
      bytes: ethernet(formatMac(addressAt(first + i)), BROADCAST),
    }));
    rig.forward(inputs);
  }
  const { learned, evicted } = rig.switch.stats();
  expect(learned).toBe(macs);
  // One in 3,000 is to be expected: that would be 3.
  expect(evicted).toBeLessThan(16);
});

describe('a port that is taken out', () => {
  test('takes its addresses with it, and no others', () => {
    const rig = makeRig();
    announce(rig, 1, 1);
    announce(rig, 2, 2);
    rig.switch.addStatic(stationBytes(3), 0, 1);
    rig.switch.removePort(1);
    expect(whereIs(rig, 2)).toEqual([2]);
    expect(whereIs(rig, 1)).toEqual([0, 2]);
    expect(whereIs(rig, 3)).toEqual([0, 2]);
    expect(rig.switch.stats().aged).toBe(0);
  });

  test('leaves nothing behind for the port that takes its place', () => {
    const rig = makeRig();
    announce(rig, 1, 1);
    rig.switch.removePort(1);
    // Frames that were on their way in.
    announce(rig, 1, 1);
    rig.switch.addPort(1, { learn: true, vlan: { access: 7 } });
    expect(whereIs(rig, 1)).toEqual([0, 2]);
    expect(whereIs(rig, 1, 7)).toEqual(FLOODED);
  });

  test('is no mirror any more', () => {
    const rig = makeRig();
    rig.switch.addMirror(0, 1, 'rx');
    rig.switch.addMirror(0, 2, 'rx');
    rig.switch.removePort(1);
    rig.switch.addPort(1, EVERYTHING);
    announce(rig, 9, 3);
    expect(portsOf(rig.forward([{ port: 0, bytes: ethernet(1, 9) }]))).toEqual([2, 3]);
  });
});
