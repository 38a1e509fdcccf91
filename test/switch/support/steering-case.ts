import fc from 'fast-check';
import { expect } from 'vitest';
import type { Action, CompiledRule, Match } from '#build/switch/steering.js';
import { cutFrame } from '../../packet/support/frames.ts';
import { EVERYTHING, START, SwitchRig } from '../../support/switch-rig.ts';
import { BridgeModel } from './bridge-model.ts';
import { everyKeyOf, isMatch } from './steering-model.ts';

const PORTS = 4;
const LCORES = 2;
/** A place in the switch without a port. */
const ABSENT = 3;

const KEYS = [
  'flowType',
  'dstMac',
  'srcMac',
  'etherType',
  'vlan',
  'srcIp',
  'dstIp',
  'protocol',
  'srcPort',
  'dstPort',
  'u32',
] as const;

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.constant({ drop: true as const }),
  fc.record({ port: fc.nat(PORTS - 1) }),
  fc.record({ lcore: fc.nat(LCORES - 1) }),
);

const other: fc.Arbitrary<Match> = fc.oneof(
  fc.constantFrom<Match>(
    ...(['ether', 'ip4', 'ip6', 'tcp4', 'udp4', 'tcp6', 'udp6', 'sctp4'] as const).map((flowType) => ({ flowType })),
  ),
  fc.constantFrom<Match>({ srcIp: '0.0.0.0/0' }, { dstIp: '::/0' }, { srcIp: '128.0.0.0/1' }, { dstIp: '8000::/1' }),
  fc.constantFrom<Match>({ protocol: 0 }, { vlan: 0 }, { etherType: 0x0800 }, { etherType: 0x8100 }, { srcPort: 0 }),
);

/** Rules that are about one of the frames, in some of its keys, or about something else. */
export const steeringCase = fc.record({
  frames: fc.array(cutFrame, { minLength: 1, maxLength: 8 }),
  rules: fc.array(
    fc.record({
      about: fc.nat(),
      keys: fc.subarray([...KEYS], { minLength: 1 }),
      bits: fc.nat(128),
      u32At: fc.nat(10).map((words) => words * 4),
      other: fc.option(other, { nil: undefined }),
      inPort: fc.option(fc.nat(PORTS - 1), { nil: undefined, freq: 3 }),
      action,
    }),
    { maxLength: 8 },
  ),
  from: fc.nat(ABSENT - 1),
});

type SteeringCase = typeof steeringCase extends fc.Arbitrary<infer Case> ? Case : never;

function ruleOf({ frames }: SteeringCase, given: SteeringCase['rules'][number], hits: number): CompiledRule {
  const { about, keys, bits, u32At, inPort } = given;
  const frame = frames[about % frames.length]?.bytes ?? new Uint8Array(0);
  const all = everyKeyOf(frame, bits, u32At);
  const picked: Match = Object.fromEntries(keys.map((key) => [key, all[key]]));
  return { match: given.other ?? picked, action: given.action, hits, ...(inPort === undefined ? {} : { inPort }) };
}

const line = (to: string, bytes: Uint8Array): string => `${to}: ${Buffer.from(bytes).toString('hex')}`;

/** Sends the frames past the rules, and compares with rules that are applied to their bytes alone. */
export function runSteering(given: SteeringCase): void {
  const rig = new SwitchRig({ ports: new Array(PORTS).fill(EVERYTHING), lcores: LCORES });
  rig.switch.removePort(ABSENT);
  const bridge = new BridgeModel(new Array(ABSENT).fill(EVERYTHING), 300);
  bridge.now = START;
  const rules = given.rules.map((rule, index) => ruleOf(given, rule, 255 - index));
  rig.steering.replace(rules);
  const { from } = given;
  const expected: string[] = [];
  const dropped: Record<string, number> = {};
  const hits = new Map<number, number>();
  const drop = (reason: string): void => {
    dropped[`${from} ${reason}`] = (dropped[`${from} ${reason}`] ?? 0) + 1;
  };
  for (const { bytes } of given.frames) {
    const rule =
      bytes.length < 14
        ? undefined
        : rules.find(({ match, inPort }) => (inPort === undefined || inPort === from) && isMatch(match, bytes));
    if (rule !== undefined) hits.set(rule.hits, (hits.get(rule.hits) ?? 0) + 1);
    const action = rule?.action;
    if (action === undefined || ('lcore' in action && action.lcore === 0)) {
      const { sent, dropped: reason } = bridge.forward(from, bytes);
      expected.push(...sent.map((copy) => line(`port ${copy.to}`, copy.bytes)));
      if (reason !== undefined) drop(reason);
    } else if ('drop' in action) drop('steered');
    else if ('lcore' in action) expected.push(line(`lcore ${action.lcore}`, bytes));
    else if (action.port === ABSENT) drop('no-port');
    else expected.push(line(`port ${action.port}`, bytes));
  }
  const inputs = given.frames.map(({ bytes, behind }) => ({ port: from, bytes, behind }));
  const found = rig.forward(inputs).map(({ to, lcore, bytes }) => line(`${lcore ? 'lcore' : 'port'} ${to}`, bytes));
  expect(found.sort()).toEqual(expected.sort());
  expect(rig.drops()).toEqual(dropped);
  for (const rule of rules) expect(rig.steering.hits(rule.hits)).toBe(hits.get(rule.hits) ?? 0);
}
