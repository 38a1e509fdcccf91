import { CALL_CASES } from './calls.ts';
import type { Case } from './case.ts';
import { LOOP_CASES } from './loops.ts';
import { MEMORY_CASES } from './memory.ts';
import { PACKET_CASES } from './packet.ts';

/** Small programs that are rejected, each with one that is not. */
export const CASES: readonly Case[] = [...PACKET_CASES, ...MEMORY_CASES, ...CALL_CASES, ...LOOP_CASES];
