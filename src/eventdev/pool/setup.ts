import type { ArenaHandle } from '../../memory/arena.ts';
import type { Shape } from './codec.ts';
import type { Places } from './records.ts';

/** What a worker starts with. */
export interface WorkerSetup {
  readonly arena: ArenaHandle;
  /** Its number, its port's address, and where the pool's parts are. */
  readonly id: number;
  readonly port: number;
  readonly places: Places;
  readonly module: string;
  readonly ordered: boolean;
  readonly message: Shape;
  readonly result: Shape;
  readonly messageBytes: number;
  readonly attempts: number;
  /** There are more threads than processors. */
  readonly crowded: boolean;
  /** Why the worker before it at this port died; undefined for the first. */
  readonly died: string | undefined;
}

/** What a worker says, once: that it serves its port, or why it cannot. */
export interface WorkerNews {
  readonly failed?: { readonly name: string; readonly message: string; readonly stack?: string };
}

/** What a worker is told, once: to end. */
export interface WorkerOrder {
  readonly stop: true;
}
