/** Frames as people write them: the layers of `FrameRepr`, checked. */
import * as z from 'zod';
import type { FrameRepr } from '../packet/builder.ts';
import { show } from './problems.ts';
import { address, list, mac, mapping, truth, whole } from './scalars.ts';

const U16_MAX = 2 ** 16 - 1;
const U32_MAX = 2 ** 32 - 1;
const U24_MAX = 2 ** 24 - 1;
/** The longest payload: what a packet can have. */
const PAYLOAD_MAX = 65_535;

const number = (max: number, description: string) => whole('a number', 0, max, description);
const some = (max: number, description: string) => z.exactOptional(number(max, description));
const flag = (description: string) => z.exactOptional(truth(description));

/** The bytes of hexadecimal text such as `de ad be ef`; undefined when it is none. */
function parseHex(text: string): Uint8Array | undefined {
  const digits = text.replaceAll(/[\s:]/g, '');
  return /^([0-9a-f]{2})*$/i.test(digits) ? new Uint8Array(Buffer.from(digits, 'hex')) : undefined;
}

/** Bytes as hexadecimal text. */
export function hexadecimal(description: string) {
  const error = ({ input }: { readonly input?: unknown }): string =>
    `${show(input)} is no hexadecimal bytes; use pairs of digits such as "de ad be ef"`;
  return z
    .string({ error })
    .meta({ description })
    .transform((input, context): Uint8Array => {
      const bytes = parseHex(input);
      if (bytes !== undefined) return bytes;
      context.addIssue({ code: 'custom', message: error({ input }) });
      return z.NEVER;
    });
}

/** Flags of TCP as tcpdump's letters, from the lowest bit. */
const FLAG_LETTERS = 'FSRP.UEW';
const flagsError = ({ input }: { readonly input?: unknown }): string =>
  `${show(input)} is no set of TCP flags; use letters of ${FLAG_LETTERS}, such as S or S. or P.`;
const tcpFlags = z
  .string({ error: flagsError })
  .regex(new RegExp(`^[${FLAG_LETTERS}]*$`), { error: flagsError })
  .meta({ description: `Flags: letters of ${FLAG_LETTERS}.` })
  .transform((letters) => [...letters].reduce((bits, letter) => bits | (1 << FLAG_LETTERS.indexOf(letter)), 0));

const ports = {
  sourcePort: number(U16_MAX, 'The port it is from.'),
  destinationPort: number(U16_MAX, 'The port it is to.'),
};

const icmp = (what: string) =>
  mapping(what, {
    type: number(255, 'Type of message.'),
    code: some(255, 'Code.'),
    identifier: some(U16_MAX, 'Identifier of an echo.'),
    sequence: some(U16_MAX, 'Number of an echo.'),
  });

const payloadError = ({ input }: { readonly input?: unknown }): string =>
  `${show(input)} is no payload; use hexadecimal bytes, a number of zero bytes up to ${PAYLOAD_MAX}, or a frame`;

/** A frame from the outside in: lengths, checksums and types are filled in. */
export const frame: z.ZodType<FrameRepr> = z.lazy(() =>
  mapping('a frame', {
    ethernet: mapping('ethernet', {
      source: mac('The address it is from.'),
      destination: mac('The address it is to.'),
      type: some(U16_MAX, 'EtherType; that of the layer inside.'),
    }),
    vlans: z.exactOptional(
      list(
        mapping('a VLAN tag', {
          id: number(4095, 'The VLAN.'),
          priority: some(7, 'Priority.'),
          dropEligible: flag('May be dropped first.'),
        }),
        1,
        2,
        'VLAN tags',
        'Tags, the outer one first.',
      ),
    ),
    arp: z.exactOptional(
      mapping('arp', {
        operation: number(U16_MAX, '1 asks, 2 answers.'),
        senderMac: mac('Of the sender.'),
        senderIp: address(4, 'Of the sender.'),
        targetMac: mac('Of the target.'),
        targetIp: address(4, 'Of the target.'),
      }),
    ),
    ipv4: z.exactOptional(
      mapping('ipv4', {
        source: address(4, 'The address it is from.'),
        destination: address(4, 'The address it is to.'),
        protocol: some(255, 'Protocol; that of the layer inside.'),
        ttl: some(255, 'Time to live; 64.'),
        dscp: some(63, 'Class of service.'),
        ecn: some(3, 'Congestion.'),
        identification: some(U16_MAX, 'Of the datagram that fragments are of.'),
        dontFragment: flag('DF.'),
        moreFragments: flag('MF.'),
        fragmentOffset: some(65_528, 'In bytes, a multiple of 8.'),
        options: z.exactOptional(hexadecimal('Options: a multiple of 4 bytes, at most 40.')),
      }),
    ),
    ipv6: z.exactOptional(
      mapping('ipv6', {
        source: address(6, 'The address it is from.'),
        destination: address(6, 'The address it is to.'),
        nextHeader: some(255, 'Protocol; that of the layer inside.'),
        hopLimit: some(255, 'Hop limit; 64.'),
        trafficClass: some(255, 'Class of service.'),
        flowLabel: some(2 ** 20 - 1, 'Flow label.'),
      }),
    ),
    tcp: z.exactOptional(
      mapping('tcp', {
        ...ports,
        sequence: some(U32_MAX, 'Sequence number.'),
        acknowledgment: some(U32_MAX, 'Acknowledgment number.'),
        flags: z.exactOptional(tcpFlags),
        window: some(U16_MAX, 'Window; 65535.'),
        urgent: some(U16_MAX, 'Urgent pointer.'),
        options: z.exactOptional(hexadecimal('Options: a multiple of 4 bytes, at most 40.')),
      }),
    ),
    udp: z.exactOptional(mapping('udp', ports)),
    icmp: z.exactOptional(icmp('icmp')),
    icmpv6: z.exactOptional(icmp('icmpv6')),
    vxlan: z.exactOptional(mapping('vxlan', { vni: number(U24_MAX, 'Network identifier.') })),
    geneve: z.exactOptional(
      mapping('geneve', {
        vni: number(U24_MAX, 'Network identifier.'),
        protocol: some(U16_MAX, 'EtherType of what is inside; Ethernet.'),
        oam: flag('Control packet.'),
        critical: flag('Has options that must be understood.'),
        options: z.exactOptional(hexadecimal('Options: a multiple of 4 bytes, at most 252.')),
      }),
    ),
    payload: z.exactOptional(
      z.union(
        [
          hexadecimal('Its bytes.'),
          whole('a length', 0, PAYLOAD_MAX, 'So many zero bytes.').transform((length) => new Uint8Array(length)),
          frame,
        ],
        { error: payloadError },
      ),
    ),
  }),
);
