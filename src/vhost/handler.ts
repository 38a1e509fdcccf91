import type { RingwayError } from '../util/errors.ts';
import type { BackendState } from './backend-state.ts';
import type { Message } from './channel.ts';
import { requestName } from './protocol.ts';

/** A message that is being handled: what is not kept of its descriptors is closed behind it. */
export interface Handled extends Message {
  keep(fd: number): number;
}

/** What is answered; undefined for nothing but what REPLY_ACK asks for. */
export type Answer = { readonly payload: Uint8Array /** Closed once it is sent. */; readonly fd?: number } | undefined;

/** An answer of a payload alone. */
export const answer = (payload: Uint8Array): Answer => ({ payload });

/** What one request must look like, and what it does. What breaks a rule throws, with the rule. */
export interface Handler {
  /** Bytes of the payload; without it `handle` checks them. */
  readonly bytes?: number;
  /** Descriptors; without it `handle` checks them. */
  readonly fds?: number;
  /** The protocol feature that it is part of. */
  readonly needs?: number;
  handle(state: BackendState, message: Handled): Answer | Promise<Answer>;
}

export const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** The refusal of a message. */
export function bad(state: BackendState, { request }: Message, why: string): RingwayError {
  return state.refuse(`${requestName(request)}: ${why}`);
}
