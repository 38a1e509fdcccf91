import { buildFrame, type VlanRepr } from 'ringway/packet';

/** EtherType for local experiments (IEEE 802, 9.2.3). */
const LOCAL_EXPERIMENT = 0x88b5;

/** `02:00:00:00:00:NN`. */
export function station(number: number): string {
  return `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`;
}

/** The broadcast address. */
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';

/** A frame of no known protocol, with a tag when `vlan` is given, and `length` bytes of payload that differ. */
export function ethernet(
  source: string | number,
  destination: string | number,
  vlan?: number | VlanRepr,
  length = 46,
): Uint8Array {
  const address = (given: string | number): string => (typeof given === 'string' ? given : station(given));
  const tag = typeof vlan === 'number' ? { id: vlan } : vlan;
  return buildFrame({
    ethernet: { destination: address(destination), source: address(source), type: LOCAL_EXPERIMENT },
    vlans: tag === undefined ? [] : [tag],
    payload: Uint8Array.from({ length }, (_, index) => (index * 7) & 255),
  });
}

/** The six bytes of a station's address. */
export function stationBytes(number: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, 0, number);
}
