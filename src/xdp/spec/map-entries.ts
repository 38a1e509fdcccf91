import { CodecError, type MapCodec, plainCodec } from '../../bpf/maps/codec.ts';
import type { BpfMap } from '../../bpf/maps/map.ts';
import { RingwayError } from '../../util/errors.ts';
import { typedCodec } from '../codec.ts';
import type { XdpProgram } from '../run.ts';
import { type Names, plainItem, readKey, readValue } from '../text.ts';

/** What names stand for where a program runs alone: there are no ports. */
export const namesOf = (program: XdpProgram): Names => ({
  portOf: () => undefined,
  programOf: program.programFor.bind(program),
});

/**
 * The map of a program by its name.
 * @param what asked for it, for the error.
 * @throws RingwayError `BAD_ARGUMENT` with the names that there are.
 */
export function mapNamed(program: XdpProgram, name: string, what: string): BpfMap {
  const map = Object.hasOwn(program.maps, name) ? program.maps[name] : undefined;
  if (map !== undefined) return map;
  const names = Object.keys(program.maps).join(', ') || 'none';
  throw new RingwayError('BAD_ARGUMENT', `${what}: no map ${JSON.stringify(name)}; there are: ${names}`);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

/** Of what a map holds, the members that `wanted` has: nobody said what the others must be. */
function partOf(value: unknown, wanted: unknown): unknown {
  if (!isObject(wanted) || !isObject(value)) return value;
  return Object.fromEntries(Object.keys(wanted).map((name) => [name, partOf(value[name], wanted[name])]));
}

/** What people wrote for a value as the map would give it. */
function asRead(map: BpfMap, codec: MapCodec, wanted: unknown, names: Names): unknown {
  try {
    return plainItem(codec.decodeValue(codec.encodeValue(readValue(map, wanted, names))));
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new RingwayError('BAD_ARGUMENT', `map ${map.name}: value ${error.message}`, { cause: error });
  }
}

/**
 * What an entry must be and what it is, as text, when these differ. Of a struct only the members that are `wanted` count; a
 * single value is that of each CPU; null is no entry.
 * @throws RingwayError `BAD_ARGUMENT` when key or value are none that such a map can have.
 */
export function entryDiffers(
  map: BpfMap,
  key: unknown,
  wanted: unknown,
  names: Names,
): { readonly expected: string; readonly got: string } | undefined {
  const found = map.get(readKey(map, key, names));
  const text = (value: unknown): string => (value === undefined ? 'no entry' : JSON.stringify(value));
  const differing = (expected: unknown, got: unknown): { expected: string; got: string } | undefined =>
    text(expected) === text(got) ? undefined : { expected: text(expected), got: text(got) };
  if (wanted === null) return differing(undefined, plainItem(found));
  const codec = typedCodec(map.definition) ?? plainCodec(map.definition);
  const one = (value: unknown, given: unknown): [unknown, unknown] => [
    partOf(asRead(map, codec, given, names), given),
    partOf(plainItem(value), given),
  ];
  const { cpus } = map;
  if (cpus === undefined || found === undefined) {
    const [expected, got] = one(found, wanted);
    return differing(expected, got);
  }
  const given = Array.isArray(wanted) && wanted.length === cpus ? wanted : Array(cpus).fill(wanted);
  const pairs = (found as unknown[]).map((value, cpu) => one(value, given[cpu]));
  return differing(
    pairs.map(([expected]) => expected),
    pairs.map(([, got]) => got),
  );
}
