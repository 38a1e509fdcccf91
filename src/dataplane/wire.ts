import type { AsyncMessage, AsyncWire } from '../async/lcore.ts';
import type { CaptureFileShare } from '../ports/capture-file.ts';
import type { FaultSettings } from '../ports/fault.ts';
import type { PortInfo } from '../ports/port.ts';
import type { ProgramWire } from '../xdp/object.ts';

/** What an lcore must know of a port: enough to attach the queues that it serves, and to reach the rest. */
export interface PortWire {
  readonly index: number;
  readonly name: string;
  /** Kind of port, as in the configuration. */
  readonly type: string;
  /** For `attach`. */
  readonly data: unknown;
  readonly pausable: boolean;
  /** As `PortShare.untrusted`. */
  readonly untrusted: boolean;
  /** As `PortShare.everyQueueSends`. */
  readonly everyQueueSends: boolean;
  /** As `PortShare.paired`. */
  readonly paired: boolean;
  /** The lcore that serves each receive queue; the first one also sends, for all or for those that do not. */
  readonly queueLcores: readonly number[];
  /** Address of the ring through which other lcores reach the sender. */
  readonly txRing: number;
  readonly fault: FaultSettings;
  readonly tap?: CaptureFileShare;
  /** Address of GRO_BYTES (`packet/layout.ts`) for each receive queue, when what arrives is merged. */
  readonly gro?: number;
  /** Address of HOOK_BYTES (`xdp/layout.ts`) for each receive queue. */
  readonly hooks: number;
}

/** A part of the arena that a stage has on all workers together. */
export interface StageMemory {
  /** 8-byte aligned; 0 when there are no bytes. */
  readonly address: number;
  readonly bytes: number;
}

/** A stage before the switch: a module, and where the configuration names it. */
export interface StageWire {
  readonly url: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly field: string;
  readonly memory: StageMemory;
}

/** What an lcore must know of the event device. */
export interface EventWire {
  /** Address of this lcore's event port. */
  readonly port: number;
  /** Address of the words that wake this lcore. */
  readonly bell: number;
  /** It serves the stages; otherwise it serves ports. */
  readonly isWorker: boolean;
  /** The stages before the switch: queues 0 and up. The switch's queue follows. */
  readonly stages: readonly StageWire[];
  /** By lcore, the queue of packets that leave through its ports; -1 for workers. */
  readonly txQueues: readonly number[];
  /** Room for a burst that waits for credits. */
  readonly held: number;
  /** GROUP_BYTES (`switch/layout.ts`). */
  readonly work: number;
}

/** What an lcore's pipeline is started with. */
export interface PipelineData {
  readonly cache: number;
  readonly counters: number;
  readonly path: number;
  /** Room for a burst of packets. */
  readonly burst: number;
  /** Another one, for packets that injected faults held back. */
  readonly faultBurst: number;
  /** SEGMENT_BYTES (`packet/layout.ts`), to finish what a port does not. */
  readonly segments: number;
  /** Places for ports in the switch. */
  readonly ports: number;
  /** Address of the ring of packets that other lcores steer here, by lcore. */
  readonly inputRings: readonly number[];
  /** Address of each lcore's words. */
  readonly lcores: readonly number[];
  /** When an event device spreads the packets over lcores. */
  readonly events?: EventWire;
  readonly xdp: XdpWire;
  /** When engines copy for guests. */
  readonly async?: AsyncWire;
}

/** What an lcore's XDP programs run over. */
export interface XdpWire {
  /** Address of CTX_BYTES (`bpf/layout.ts`). */
  readonly context: number;
  /** Address of HOOK_BYTES, for programs that run when a packet arrives at or leaves this lcore. */
  readonly hook: number;
  /** Room for a burst of packets that programs sent here. */
  readonly arrivals: number;
  /** Address of the route table, and of the ring of what programs say with trace_printk. */
  readonly routes: number;
  readonly log: number;
  readonly seed: number;
}

/** Messages from the control thread to an lcore, between polls. */
export type PipelineMessage =
  | { readonly kind: 'add'; readonly port: PortWire }
  /** Send nothing more to the port; what waits for it is dropped. */
  | { readonly kind: 'detach'; readonly index: number }
  /** Close the port's queues here, after every lcore has detached. */
  | { readonly kind: 'remove'; readonly index: number }
  | { readonly kind: 'set'; readonly index: number; readonly name: string; readonly value: unknown }
  | { readonly kind: 'trace'; readonly index: number; readonly on: boolean }
  | { readonly kind: 'info' }
  /** Who copies for guests, and who looks after that. */
  | { readonly kind: 'async'; readonly message: AsyncMessage }
  /** Make a program ready to run; forget it, when nothing leads to it any more. */
  | { readonly kind: 'load'; readonly program: ProgramWire }
  | { readonly kind: 'unload'; readonly program: number }
  /** Give the port's queues another program, from the next burst on; 0: none. */
  | { readonly kind: 'attach'; readonly index: number; readonly program: number }
  /** Begin to receive. */
  | { readonly kind: 'resume' }
  /** Receive nothing more; what injected faults hold still comes. */
  | { readonly kind: 'quiesce' }
  /** Drop what is on its way, and send to no other lcore any more. */
  | { readonly kind: 'abandon' };

/** The state of one queue of a port on an lcore. */
export interface QueueInfo extends PortInfo {
  readonly index: number;
  readonly queue: number;
}

/** A line about a traced packet. */
export interface TraceEvent {
  readonly index: number;
  readonly line: string;
}
