import { RingwayError } from '../../util/errors.ts';
import type { BpfObject, ObjectFunction } from './object.ts';
import { listNames } from './reader.ts';
import { PROGRAM_SECTIONS } from './sections.ts';

/**
 * The function of the program of this name; of the only program of a supported type when there is no name.
 *
 * Errors: NOT_FOUND with the names that there are, UNSUPPORTED with the sections that programs may have.
 */
export function findProgram(object: BpfObject, name: string | undefined): ObjectFunction {
  const { file, programs, parts } = object;
  const supported = programs.filter(({ type }) => type !== undefined);
  const wanted = name === undefined && supported.length === 1 ? supported[0]?.name : name;
  const listed = listNames(programs.map((program) => `${program.name} (${program.section})`));
  if (wanted === undefined) {
    throw new RingwayError(
      'NOT_FOUND',
      `${file}: it has ${supported.length} programs of the sections ${PROGRAM_SECTIONS}, and none is named. Name one. ` +
        `Its programs: ${listed}.`,
    );
  }
  const index = programs.findIndex((program) => program.name === wanted);
  const [program, entry] = [programs[index], parts.entries[index]];
  if (program === undefined || entry === undefined) {
    throw new RingwayError('NOT_FOUND', `${file}: it has no program ${wanted}. Its programs: ${listed}.`);
  }
  if (program.type === undefined) {
    throw new RingwayError(
      'UNSUPPORTED',
      `${file}: program ${wanted} is in section ${program.section}. Programs that can be run are those of the sections ` +
        `${PROGRAM_SECTIONS}.`,
    );
  }
  return entry;
}
