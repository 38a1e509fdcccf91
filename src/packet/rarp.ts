/** RFC 903: EtherType and the operation "request reverse". */
const ETHERTYPE_RARP = 0x8035;
const RARP_REQUEST = 3;
/** A frame without FCS has so many bytes at least (IEEE 802.3). */
const FRAME_BYTES = 60;

/**
 * A frame that hosts send in the name of a guest that has just arrived, and that asks for nothing: switches learn from it
 * where the guest is. RFC 903, a question for its own address, to everybody.
 * @param mac its six bytes.
 */
export function buildRarpAnnouncement(mac: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES);
  const view = new DataView(frame.buffer);
  frame.fill(0xff, 0, 6);
  frame.set(mac, 6);
  view.setUint16(12, ETHERTYPE_RARP);
  // Ethernet, IPv4, and the lengths of their addresses.
  view.setUint16(14, 1);
  view.setUint16(16, 0x0800);
  view.setUint8(18, 6);
  view.setUint8(19, 4);
  view.setUint16(20, RARP_REQUEST);
  frame.set(mac, 22);
  frame.set(mac, 32);
  return frame;
}
