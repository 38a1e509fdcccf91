import { RingwayError } from '../../util/errors.ts';
import type { MapDefinition } from '../program.ts';
import type { BtfVariable } from './btf.ts';
import type { BpfObject } from './object.ts';
import { listNames } from './reader.ts';
import { type BtfValue, encodeValue } from './values.ts';

/**
 * The object with other bytes in a data section (`.rodata`, `.data`, `.bss`, `.data.NAME` …), from its start; what is
 * behind them stays. The object given stays as it is.
 *
 * Errors: NOT_FOUND when there is no such section, BAD_ARGUMENT when it has fewer bytes.
 */
export function withData(object: BpfObject, section: string, bytes: Uint8Array): BpfObject {
  const index = object.maps.findIndex(({ name, initial }) => name === section && initial !== undefined);
  const map = object.maps[index];
  if (map?.initial === undefined) {
    const listed = listNames(dataMaps(object).map(({ name }) => name));
    throw new RingwayError('NOT_FOUND', `${object.file}: it has no data section ${section}. It has ${listed}.`);
  }
  if (bytes.length > map.initial.length) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${object.file}: ${bytes.length} bytes are given for section ${section}. It has ${map.initial.length}.`,
    );
  }
  const initial = map.initial.slice();
  initial.set(bytes);
  return { ...object, maps: object.maps.with(index, { ...map, initial }) };
}

/**
 * The object with other values of global or static variables, by name. A value is what `encodeValue` takes: for a struct
 * its bytes or an object of its members, of which those left out are 0.
 *
 * Errors: NOT_FOUND when there is no such variable, or the object has no types (compile with -g); BAD_ARGUMENT when it
 * does not take the value.
 */
export function withVariables(object: BpfObject, values: Readonly<Record<string, BtfValue>>): BpfObject {
  let changed = object;
  for (const [name, value] of Object.entries(values)) changed = withVariable(changed, name, value);
  return changed;
}

interface Place {
  readonly map: MapDefinition;
  readonly variable: BtfVariable;
}

const dataMaps = ({ maps }: BpfObject): MapDefinition[] => maps.filter(({ initial }) => initial !== undefined);

/** All variables of the data sections, by name. */
function variablesOf(object: BpfObject): Map<string, Place> {
  const found = new Map<string, Place>();
  for (const map of dataMaps(object)) {
    const section = map.types?.btf.type(map.types.value);
    if (section?.kind !== 'datasec') continue;
    for (const variable of section.variables) {
      const { name } = map.types?.btf.type(variable.type) ?? { name: '' };
      if (!found.has(name)) found.set(name, { map, variable });
    }
  }
  return found;
}

function withVariable(object: BpfObject, name: string, value: BtfValue): BpfObject {
  const variables = variablesOf(object);
  const { map, variable } = variables.get(name) ?? {};
  if (object.btf === undefined || map?.initial === undefined || variable === undefined) {
    const listed = listNames([...variables.keys()], 'none with a type (compile with -g)');
    throw new RingwayError('NOT_FOUND', `${object.file}: it has no variable ${name}. It has ${listed}.`);
  }
  const bytes = encodeValue(object.btf, variable.type, value);
  const end = variable.offset + bytes.length;
  if (end > map.initial.length) {
    throw new RingwayError(
      'BAD_OBJECT',
      `${object.file}: variable ${name} ends at ${end} of section ${map.name}, which has ${map.initial.length} bytes.`,
    );
  }
  const initial = map.initial.slice();
  initial.set(bytes, variable.offset);
  return withData(object, map.name, initial);
}
