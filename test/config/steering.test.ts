import fc from 'fast-check';
import { expect, test } from 'vitest';
import { renderRules } from '#build/cli/steer.js';
import { parseSteeringRule, parseValue, type SteeringRule, steeringSource } from '#build/config/index.js';

const name = fc.oneof(fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,31}$/), fc.constantFrom('null', 'true', 'No', 'e1'));
const u16 = fc.nat({ max: 65535 });
const u32 = fc.nat({ max: 0xffffffff });
const words = fc.array(
  fc.record({ value: u32, mask: u32, at: fc.nat({ max: 63 }).map((word) => word * 4) }).map((word) => ({
    ...word,
    value: (word.value & word.mask) >>> 0,
  })),
  { minLength: 1, maxLength: 8 },
);
const match = fc.oneof(
  fc.record({ inPort: name, etherType: u16, srcMac: fc.constant('02:00:00:00:00:01') }, { requiredKeys: ['inPort'] }),
  fc.record({ flowType: fc.constantFrom('tcp4', 'udp4', 'sctp4'), dstPort: u16, srcIp: fc.constant('10.0.0.0/8') }),
  fc.record({ flowType: fc.constant('ip6'), dstIp: fc.constant('2001:db8::/32'), protocol: fc.nat({ max: 255 }) }),
  fc.record({ u32: words, vlan: fc.nat({ max: 4094 }) }, { requiredKeys: ['u32'] }),
);
const action = fc.oneof(
  fc.constant({ drop: true }),
  fc.record({ port: name }),
  fc.record({ lcore: fc.nat({ max: 63 }) }),
  fc.record({ queue: fc.nat({ max: 15 }) }),
);

test('a rule that is listed can be added again and is the same', () => {
  fc.assert(
    fc.property(fc.record({ match, action }), (made) => {
      const rule = made as SteeringRule;
      const source = steeringSource(rule);
      expect(parseSteeringRule(source)).toEqual(rule);
      const [, line = ''] = renderRules([{ id: 1, hits: 0, rule: source }], 10_000, false);
      expect(parseSteeringRule(parseValue(line.slice(line.indexOf('{')), 'rule'))).toEqual(rule);
    }),
    { numRuns: 300 },
  );
});

test.each([
  ['{match: {flow-type: ether, src-port: 1}, action: {drop: true}}', /asks for IP fields with flow-type ether/],
  ['{match: {flow-type: udp4, proto: 2048}, action: {drop: true}}', /asks for proto .*leave proto out/],
  ['{match: {flow-type: udp4, l4proto: 17}, action: {drop: true}}', /asks for l4proto .*leave l4proto out/],
  ['{match: {flow-type: udp6, src-ip: 10.0.0.1}, action: {drop: true}}', /asks for IPv4 and IPv6 in one packet/],
  ['{match: {vlan: 1}}', /rule.action: is missing/],
  ['[]', /rule: a list is not a steering rule; use a mapping with match, action/],
])('refuses %s', (text, message) => {
  expect(() => parseSteeringRule(parseValue(text, 'rule'))).toThrow(message);
});

test('what is typed must be YAML', () => {
  expect(() => parseValue('{match: ', 'rule')).toThrow(/^rule:1:\d+: is not YAML/);
});
