import { CommanderError } from 'commander';
import { RingwayError } from '../util/errors.ts';

/** Done. */
export const EXIT_DONE = 0;
/** An input was refused or broken, or the dataplane broke. */
export const EXIT_BROKEN = 1;
/** Wrong usage or configuration. */
export const EXIT_USAGE = 2;
/** A bug: EX_SOFTWARE of sysexits.h. */
const EXIT_BUG = 70;

/** What `error` means for whoever started the program, and what to print about it. */
export function describeError(error: unknown): { exitCode: number; text: string } {
  if (error instanceof CommanderError) {
    // Commander has printed its message, and help or the version are no errors.
    return { exitCode: error.exitCode === 0 ? EXIT_DONE : EXIT_USAGE, text: '' };
  }
  if (error instanceof RingwayError) {
    const isUsage = error.code === 'BAD_CONFIG' || error.code === 'BAD_ARGUMENT';
    // The lines of a BAD_CONFIG begin with a place, which editors and terminals make links of.
    const text = error.code === 'BAD_CONFIG' ? `${error.message}\n` : `ringway: ${error.message}\n`;
    return { exitCode: isUsage ? EXIT_USAGE : EXIT_BROKEN, text };
  }
  const trace = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { exitCode: EXIT_BUG, text: `ringway: this is a bug, please report it:\n${trace}\n` };
}
