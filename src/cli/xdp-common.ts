import { parseValue } from '../config/index.ts';
import { RingwayError } from '../util/errors.ts';
import type { XdpOptions, XdpProgram } from '../xdp/run.ts';
import { mapNamed, namesOf } from '../xdp/spec/map-entries.ts';
import { writeEntry } from '../xdp/text.ts';
import { processTerminal } from './terminal.ts';

/** What all commands that run a program are told. */
export interface ProgramFlags {
  readonly prog?: string;
  readonly trusted?: true;
  readonly engine?: string;
}

/** Writes lines to standard output. */
export const print = (lines: readonly string[]): void =>
  processTerminal().write(lines.map((line) => `${line}\n`).join(''));

/** What `loadXdp` is told for them. */
export function programOptions({ prog, trusted, engine = 'jit' }: ProgramFlags): XdpOptions {
  if (engine !== 'jit' && engine !== 'interpreter') {
    throw new RingwayError('BAD_ARGUMENT', `--engine: ${JSON.stringify(engine)} is none; use jit or interpreter`);
  }
  return { engine, trusted: trusted === true, ...(prog === undefined ? {} : { prog }) };
}

/** Collects a flag that may be given several times. */
export const collect = (one: string, all: string[]): string[] => [...all, one];

/** Writes what `--map NAME={KEY: VALUE}` says. */
export function fillMaps(program: XdpProgram, settings: readonly string[]): void {
  for (const setting of settings) {
    const [, name = '', rest = ''] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
    const map = mapNamed(program, name, `--map ${setting}`);
    const entries = parseValue(rest, '--map');
    if (typeof entries !== 'object' || entries === null || Array.isArray(entries)) {
      throw new RingwayError('BAD_ARGUMENT', `--map ${setting}: is no mapping; use one such as ${name}={1: 2}`);
    }
    for (const [key, value] of Object.entries(entries)) writeEntry(map, key, value, namesOf(program));
  }
}
