/** What messages are ordered by. Keys that are equal (`===`) are one. */
export type Key = string | number | bigint;

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);

/** The finish of MurmurHash3 (Appleby, 2011): every bit of the input moves every bit of the output. */
function mix(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function hashText(text: string): number {
  let h = 0x811c9dc5;
  // FNV-1a (Fowler, Noll and Vo), by UTF-16 units.
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix(h);
}

function hashBigInt(key: bigint): number {
  let h = key < 0n ? 1 : 0;
  for (let rest = key < 0n ? -key : key; rest > 0n; rest >>= 32n) h = mix(h ^ Number(rest & 0xffffffffn));
  return mix(h);
}

/** The flow id of `key`, 0 to 2^32 - 1; undefined when it is nothing that can be a key. */
export function hashKey(key: unknown): number | undefined {
  if (typeof key === 'number') {
    if ((key | 0) === key) return mix(key);
    // -0 was a whole number above; all NaN have one form in a Float64Array that V8 writes.
    float[0] = key;
    return mix((words[0] as number) ^ Math.imul(words[1] as number, 0x9e3779b1));
  }
  if (typeof key === 'string') return hashText(key);
  return typeof key === 'bigint' ? hashBigInt(key) : undefined;
}
