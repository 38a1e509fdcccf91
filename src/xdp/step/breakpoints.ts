import { basename } from 'node:path';
import type { Program } from '../../bpf/program.ts';
import { RingwayError } from '../../util/errors.ts';
import type { Moves } from './moves.ts';
import type { Moment } from './recording.ts';

/** A place where a run is to stop. */
export interface Breakpoint {
  readonly number: number;
  /** As it was asked for. */
  readonly text: string;
  matches(moment: Moment, at: number): boolean;
}

function refuse(text: string, why: string): RingwayError {
  return new RingwayError('BAD_ARGUMENT', `break ${text}: ${why}`);
}

/** Lines of a file that there is code for, in any of the programs. */
function linesOf(programs: readonly Program[], isFile: (file: string) => boolean): number[] {
  const lines = programs.flatMap(({ lines: all }) => all.filter(({ file }) => isFile(file)).map(({ line }) => line));
  return [...new Set(lines)].filter((line) => line > 0).sort((a, b) => a - b);
}

/**
 * What `*12` (an instruction of the program that runs), `41`, `headers.h:24` (a line) or the name of a function stands for.
 * @param here where the run is now.
 * @throws RingwayError `BAD_ARGUMENT` when there is no such place, with what is near it.
 */
export function breakpointAt(
  text: string,
  number: number,
  programs: readonly Program[],
  here: Moment,
  moves: Moves,
): Breakpoint {
  const pc = /^\*(\d+)$/.exec(text)?.[1];
  if (pc !== undefined) {
    const { program } = here;
    if (Number(pc) >= program.code.length) {
      throw refuse(text, `${program.name} has instructions 0 to ${program.code.length - 1}`);
    }
    return { number, text, matches: (moment) => moment.program === program && moment.pc === Number(pc) };
  }
  const [, file, digits] = /^(?:(.+):)?(\d+)$/.exec(text) ?? [];
  if (digits !== undefined) {
    const isFile = (path: string): boolean =>
      file === undefined ? path === here.line?.file : path === file || basename(path) === file;
    const lines = linesOf(programs, isFile);
    const line = Number(digits);
    if (lines.length === 0) throw refuse(text, `no code is known to be of ${file ?? 'this file'}; compile with -g`);
    if (!lines.includes(line)) {
      const near = lines.find((each) => each > line) ?? lines.at(-1);
      throw refuse(text, `there is no code of line ${line}; the nearest line that has some is ${near}`);
    }
    const isThere = ({ line: place }: Moment): boolean => place?.line === line && isFile(place.file);
    return { number, text, matches: (moment, at) => isThere(moment) && moves.isLineStart(at) };
  }
  const starts = programs.flatMap((program) =>
    program.functions.filter(({ name }) => name === text).map(({ start }) => ({ program: program.name, start })),
  );
  if (starts.length === 0) {
    const names = [...new Set(programs.flatMap(({ functions }) => functions.map(({ name }) => name)))].join(', ');
    throw refuse(text, `is no function, line or *instruction; functions are ${names}`);
  }
  const isStart = ({ program, pc: at }: Moment): boolean =>
    starts.some((start) => start.program === program.name && start.start === at);
  return { number, text, matches: isStart };
}
