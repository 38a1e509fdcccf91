import type { StackAddresses } from './stack.ts';

/**
 * What a guest does with what it receives. `stack`: answers ARP, neighbor discovery, ping and UDP echo, and takes TCP.
 * `sink`: throws everything away. `forward`: sends every frame back with its MAC addresses exchanged. A source sends UDP to
 * an address whose MAC it asks for, and answers as a stack does.
 */
export type GuestApp = 'stack' | 'sink' | 'forward' | GuestSource;

/** A guest that sends. */
export interface GuestSource {
  /** IPv4 or IPv6 address to send to. */
  readonly to: string;
  /** Frame bytes without FCS, 60 to 1,514. */
  readonly size: number;
  /** Different source ports, 1 to 65,536 - SOURCE_PORT. */
  readonly flows: number;
  /** Packets per second; as many as it can when missing. */
  readonly rate?: number;
  /** Packets in all. */
  readonly limit?: number;
}

/** What the thread of a guest is started with. */
export interface GuestWire {
  /** Addresses of the net queues of each queue pair: the driver's side. */
  readonly pairs: readonly { readonly receive: number; readonly send: number }[];
  /** Address of its pool's buffer cache. */
  readonly cache: number;
  /** Address of GUEST_BURST_BYTES for packet slots. */
  readonly burst: number;
  /** Address of GUEST_SCRATCH_BYTES, for a template, and for frames that do not lie in one piece. */
  readonly scratch: number;
  /** Word index of what says whether its link is up. */
  readonly link: number;
  readonly addresses: StackAddresses;
  readonly app: GuestApp;
  readonly seed: number;
}

/** Two bursts of 32 slots of 16 bytes, and one slot more. */
export const GUEST_BURST_BYTES = 1040;
/** A source's template, then the longest frame, and room for what a reply may be longer. */
export const GUEST_TEMPLATE_BYTES = 2048;
export const GUEST_SCRATCH_BYTES = GUEST_TEMPLATE_BYTES + 66_048;
/** Source port of a source's first flow: the first dynamic port (RFC 6335, 6). */
export const SOURCE_PORT = 49_152;
