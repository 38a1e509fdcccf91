import {
  KIND_ARRAY_OF_MAPS,
  KIND_CPUMAP,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_HASH_OF_MAPS,
  KIND_PROG_ARRAY,
  KIND_XSKMAP,
} from '../bpf/layout.ts';
import { CodecError, type MapCodec, plainCodec } from '../bpf/maps/codec.ts';
import { type BtfValue, decodeValue, encodeValue } from '../bpf/object/values.ts';
import type { MapDefinition } from '../bpf/program.ts';
import { RingwayError } from '../util/errors.ts';

/** Kinds whose values mean something to ringway, whatever the object calls their type. */
const OWN_VALUES: readonly number[] = [
  KIND_ARRAY_OF_MAPS,
  KIND_HASH_OF_MAPS,
  KIND_PROG_ARRAY,
  KIND_DEVMAP,
  KIND_DEVMAP_HASH,
  KIND_CPUMAP,
  KIND_XSKMAP,
];

/** Turns what BTF says is wrong with a value into what a map makes a message of. */
function encode(encodeBytes: () => Uint8Array): Uint8Array {
  try {
    return encodeBytes();
  } catch (error) {
    if (error instanceof RingwayError) throw new CodecError(error.message, { cause: error });
    throw error;
  }
}

/**
 * The ids of the types of a map's keys and values in the object's BTF; 0 where it does not say. Undefined when it says
 * nothing, or ringway knows better.
 */
export function typesOf({ types, kind }: MapDefinition): MapDefinition['types'] {
  return OWN_VALUES.includes(kind) ? undefined : types;
}

/**
 * Keys and values as their types in the object's BTF say: structs are objects, 64-bit numbers bigints. Bytes are taken
 * for any of them. Undefined when the object does not say.
 */
export function typedCodec(definition: MapDefinition): MapCodec | undefined {
  const types = typesOf(definition);
  if (types === undefined) return undefined;
  const { btf, key, value } = types;
  const plain = plainCodec(definition);
  return {
    decodeKey: key === 0 ? plain.decodeKey : (bytes) => decodeValue(btf, key, bytes),
    encodeKey:
      key === 0
        ? plain.encodeKey
        : (given) => (given instanceof Uint8Array ? given : encode(() => encodeValue(btf, key, given as BtfValue))),
    decodeValue: value === 0 ? plain.decodeValue : (bytes) => decodeValue(btf, value, bytes),
    encodeValue:
      value === 0
        ? plain.encodeValue
        : (given) => (given instanceof Uint8Array ? given : encode(() => encodeValue(btf, value, given as BtfValue))),
  };
}
