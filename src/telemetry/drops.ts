import * as layout from './layout.ts';

/** Name and meaning of each reason for which a packet is dropped. */
export const DROPS: ReadonlyMap<number, { readonly name: string; readonly meaning: string }> = new Map([
  [layout.DROP_RUNT, { name: 'runt', meaning: 'shorter than an Ethernet header' }],
  [layout.DROP_LINK_TYPE, { name: 'link-type', meaning: 'the capture says that it is not an Ethernet frame' }],
  [layout.DROP_POOL_EMPTY, { name: 'pool-empty', meaning: 'no buffer was free' }],
  [layout.DROP_VLAN, { name: 'vlan', meaning: 'its VLAN is not allowed on the port it came from' }],
  [layout.DROP_RESERVED, { name: 'reserved', meaning: 'to an 802.1D reserved address, which bridges do not forward' }],
  [layout.DROP_SAME_PORT, { name: 'same-port', meaning: 'its destination is where it came from' }],
  [layout.DROP_NO_PORT, { name: 'no-port', meaning: 'no other port is in its VLAN' }],
  [layout.DROP_STORM, { name: 'storm', meaning: 'flooded frames over the port’s storm limit' }],
  [layout.DROP_STEERED, { name: 'steered', meaning: 'a steering rule says drop' }],
  [layout.DROP_NO_ROUTE, { name: 'no-route', meaning: 'to the router, and no route has its destination' }],
  [layout.DROP_TTL, { name: 'ttl', meaning: 'to the router, with its hop limit used up' }],
  [layout.DROP_BAD_HEADER, { name: 'bad-header', meaning: 'to the router, with a malformed IP header' }],
  [layout.DROP_LCORE_FULL, { name: 'lcore-full', meaning: 'steered to an lcore that is behind, or the workers are' }],
  [
    layout.DROP_BAD_DESCRIPTOR,
    { name: 'bad-descriptor', meaning: 'a guest sent no whole frame, or a header that is not allowed' },
  ],
  [layout.DROP_STAGE, { name: 'stage', meaning: 'a stage of the event device says drop' }],
  [layout.DROP_XDP, { name: 'xdp', meaning: 'the XDP program of the port it came from says DROP' }],
  [
    layout.DROP_XDP_ABORTED,
    { name: 'xdp-aborted', meaning: 'the XDP program says ABORTED, or nothing known, or was ended by a check' },
  ],
  [layout.DROP_XDP_REDIRECT, { name: 'xdp-redirect', meaning: 'the XDP program sends it to what is not there' }],
  [
    layout.DROP_XDP_FRAGS,
    { name: 'xdp-frags', meaning: 'in several buffers, and the XDP program is not in a section xdp.frags' },
  ],
  [layout.DROP_LINK_DOWN, { name: 'link-down', meaning: 'the link of the port it was to leave through is down' }],
  [layout.DROP_TX_FULL, { name: 'tx-full', meaning: 'the port it was to leave through is behind' }],
  [layout.DROP_TX_ERROR, { name: 'tx-error', meaning: 'the port it was to leave through is broken' }],
  [layout.DROP_PORT_GONE, { name: 'port-gone', meaning: 'the port it was to leave through was deleted' }],
  [layout.DROP_STOPPED, { name: 'stopped', meaning: 'still in flight when the dataplane had to stop' }],
  [layout.DROP_OVERSIZE, { name: 'oversize', meaning: 'longer than the buffers of the guest it was for' }],
  [layout.DROP_FILTERED, { name: 'filtered', meaning: 'the guest it was for does not receive that address or VLAN' }],
  [layout.DROP_FAULT, { name: 'fault', meaning: 'lost by the fault injector' }],
  [
    layout.DROP_BAD_OFFLOAD,
    { name: 'bad-offload', meaning: 'asks for a checksum or segments that its headers do not allow' },
  ],
]);
