import * as z from 'zod';
import { parsePrefix } from '../util/addresses.ts';
import { list, mac, mapping, oneOf, portName, prefix, whole } from './scalars.ts';
import type { FlowType, SteeringAction, SteeringMatch, SteeringRule } from './types.ts';

const FLOW_TYPES = ['ether', 'ip4', 'ip6', 'tcp4', 'udp4', 'tcp6', 'udp6', 'sctp4'] as const;
const U32_MAX = 2 ** 32 - 1;

const word = (description: string) => whole('a 32-bit word', 0, U32_MAX, description);
const u32 = mapping('a u32 match', {
  value: word('The value, in network order.'),
  mask: word('The bits that count.').default(U32_MAX),
  at: whole('an offset', 0, 252, 'Bytes from the network header, a multiple of 4.').multipleOf(4, {
    error: ({ input }) => `${input} is not a multiple of 4; use 0, 4, … 252`,
  }),
}).superRefine(({ value, mask }, context) => {
  // Unsigned, since value & ~mask may have bit 31.
  if ((value & ~mask) >>> 0 === 0) return;
  const hex = (number: number): string => `0x${(number >>> 0).toString(16)}`;
  const message = `${hex(value)} has bits outside the mask ${hex(mask)}, and would never match; use ${hex(value & mask)}`;
  context.addIssue({ code: 'custom', path: ['value'], message });
});

const transportPort = (description: string) => whole('a port number', 0, 65535, description);

/** Keys as ethtool(8) spells them. */
const matchShape = {
  'in-port': z.exactOptional(portName('The port that the packet entered.')),
  'flow-type': z.exactOptional(oneOf('a flow type', FLOW_TYPES, 'Kind of packet.')),
  src: z.exactOptional(mac('Source MAC.')),
  dst: z.exactOptional(mac('Destination MAC.')),
  proto: z.exactOptional(whole('an EtherType', 0, 65535, 'EtherType.')),
  vlan: z.exactOptional(whole('a VLAN', 0, 4094, 'VLAN of the packet; 0 is none.')),
  'src-ip': z.exactOptional(prefix('Source address or prefix.')),
  'dst-ip': z.exactOptional(prefix('Destination address or prefix.')),
  l4proto: z.exactOptional(whole('an IP protocol', 0, 255, 'IP protocol.')),
  'src-port': z.exactOptional(transportPort('Source port of TCP, UDP or SCTP.')),
  'dst-port': z.exactOptional(transportPort('Destination port of TCP, UDP or SCTP.')),
  u32: z.exactOptional(list(u32, 1, 8, 'a list of u32 matches', 'Words of the packet, as tc-u32 matches them.')),
};

/** ethtool's key for each of ours. */
const KEYS = {
  inPort: 'in-port',
  flowType: 'flow-type',
  srcMac: 'src',
  dstMac: 'dst',
  etherType: 'proto',
  vlan: 'vlan',
  srcIp: 'src-ip',
  dstIp: 'dst-ip',
  protocol: 'l4proto',
  srcPort: 'src-port',
  dstPort: 'dst-port',
  u32: 'u32',
} as const satisfies Record<keyof SteeringMatch, keyof typeof matchShape>;

/** The family that a flow type implies. */
function familyOf(flowType: FlowType | undefined): 4 | 6 | undefined {
  if (flowType?.endsWith('4') === true) return 4;
  return flowType?.endsWith('6') === true ? 6 : undefined;
}

/** Why no packet can match, or undefined. */
function contradiction(match: SteeringMatch): string | undefined {
  const { flowType, srcIp, dstIp, protocol, srcPort, dstPort, etherType } = match;
  const hasPort = srcPort !== undefined || dstPort !== undefined;
  const families = new Set(
    [
      familyOf(flowType),
      ...[srcIp, dstIp].map((text) => (text === undefined ? undefined : parsePrefix(text)?.family)),
    ].filter((family) => family !== undefined),
  );
  if (families.size > 1) return 'asks for IPv4 and IPv6 in one packet; make two rules';
  if (flowType === 'ether' && (families.size > 0 || hasPort || protocol !== undefined)) {
    return 'asks for IP fields with flow-type ether; use ip4, ip6, tcp4 …';
  }
  if (flowType !== undefined && flowType !== 'ether' && etherType !== undefined) {
    return `asks for proto (an EtherType) with flow-type ${flowType}, which implies it; leave proto out`;
  }
  if (flowType !== undefined && /^(tcp|udp|sctp)/.test(flowType) && protocol !== undefined) {
    return `asks for l4proto with flow-type ${flowType}, which implies it; leave l4proto out`;
  }
  return undefined;
}

const match = mapping('match', matchShape)
  .transform((input, context): SteeringMatch => {
    const entries = Object.entries(KEYS).map(([ours, theirs]) => [ours, input[theirs]] as const);
    const found = Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as SteeringMatch;
    const wrong = Object.keys(found).length === 0 ? 'is empty; say what packets it is about' : contradiction(found);
    if (wrong === undefined) return found;
    context.addIssue({ code: 'custom', message: wrong });
    return z.NEVER;
  })
  .meta({ description: "What a packet must be, in ethtool's terms." });

const action = mapping('action', {
  drop: z.exactOptional(
    z
      .literal(true, { error: ({ input }) => `${String(input)} is refused; use drop: true` })
      .meta({ description: 'Drop the packet.' }),
  ),
  port: z.exactOptional(portName('Send it to this port.')),
  lcore: z.exactOptional(whole('an lcore', 0, 63, 'Let the lcore of this index handle it.')),
  queue: z.exactOptional(whole('a queue', 0, 15, 'Let this queue of the port have it.')),
})
  .transform((input, context): SteeringAction => {
    if (Object.keys(input).length === 1) return input as SteeringAction;
    const got = Object.keys(input).join(' and ') || 'nothing';
    context.addIssue({ code: 'custom', message: `has ${got}; use one of drop, port, lcore, queue` });
    return z.NEVER;
  })
  .meta({ description: 'What to do with it: one of drop, port, lcore, queue.' });

/** A steering rule as it is written. */
export const steeringSchema = mapping('a steering rule', { match, action });

/** A rule as it is written in YAML: what `steeringSchema` accepts. */
export function steeringSource(rule: SteeringRule): Record<string, unknown> {
  const entries = Object.entries(KEYS).map(([ours, theirs]) => [theirs, rule.match[ours as keyof SteeringMatch]]);
  return { match: Object.fromEntries(entries.filter(([, value]) => value !== undefined)), action: rule.action };
}
