import type { Register } from './register.ts';

/** Why a program is rejected, in short: what programs and tests tell rejections apart by. */
export type RejectionReason =
  /** A register is read that nothing was written to. */
  | 'uninitialised-register'
  /** Memory is reached through what is no pointer. */
  | 'not-a-pointer'
  /** A pointer into the packet is used after a helper moved it. */
  | 'stale-pointer'
  /** What may be null is used without a check. */
  | 'null-pointer'
  /** Bytes of the packet are reached that were not compared with its end. */
  | 'packet-bounds'
  | 'map-bounds'
  | 'stack-bounds'
  | 'memory-bounds'
  /** A number goes into an address that is not bounded. */
  | 'unbounded-offset'
  | 'context-access'
  /** Memory is written that may only be read, or the other way round. */
  | 'access-rights'
  | 'alignment'
  | 'pointer-arithmetic'
  /** A part of a pointer is put on the stack, or taken from it. */
  | 'partial-pointer'
  /** A pointer to a function's stack outlives it. */
  | 'stack-escape'
  | 'helper-argument'
  | 'helper-size'
  | 'map-kind'
  | 'atomic'
  | 'call'
  | 'stack-depth'
  | 'reference-leak'
  /** A spin lock is held where it must not be, or used as something else. */
  | 'spin-lock'
  | 'infinite-loop'
  | 'unreachable'
  | 'budget';

/** What ends an exploration: the program does something here that it must not. */
export class Refusal extends Error {
  readonly reason: RejectionReason;
  /** What is wrong here. */
  readonly why: string;
  /** What would have to be there, and how it is written. */
  readonly missing: string;
  /** The register that it is about, with its number when it is one. */
  readonly culprit: number | undefined;

  constructor(reason: RejectionReason, why: string, missing: string, culprit?: number) {
    super(why);
    this.reason = reason;
    this.why = why;
    this.missing = missing;
    this.culprit = culprit;
  }
}

/** A register, and its number for messages. */
export interface Operand {
  readonly number: number;
  readonly register: Register;
}
