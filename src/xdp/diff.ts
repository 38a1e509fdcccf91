import { KIND_PERF_EVENT_ARRAY, KIND_RINGBUF } from '../bpf/layout.ts';
import type { BpfMap } from '../bpf/maps/map.ts';
import { framesOf, nanosecondsOf } from './capture.ts';
import type { RunContext, RunResult, XdpProgram } from './run.ts';
import { plainItem } from './text.ts';

/** An entry that two programs have left different, in maps of one name. */
export interface MapDifference {
  readonly map: string;
  /** Key and values as in JSON; undefined: no entry. */
  readonly key: unknown;
  readonly a: unknown;
  readonly b: unknown;
}

/** A frame that two programs do different things with. */
export interface PacketDifference {
  /** Number of the frame in the capture, from 1 as Wireshark counts. */
  readonly frame: number;
  /** As it went in. */
  readonly packet: Uint8Array;
  readonly a: RunResult;
  readonly b: RunResult;
  /** Entries that differ since this frame, or differ in another way. */
  readonly maps: readonly MapDifference[];
}

/** The maps of a program, and whether a run has changed them: most change none of most. */
class WatchedMaps {
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly #memory: Uint8Array;
  readonly #copies = new Map<string, { readonly now: Uint8Array; readonly before: Uint8Array }>();

  constructor({ maps, memory }: XdpProgram) {
    const isTable = ({ kind }: BpfMap): boolean => kind !== KIND_RINGBUF && kind !== KIND_PERF_EVENT_ARRAY;
    this.maps = new Map(Object.entries(maps).filter(([, map]) => isTable(map)));
    this.#memory = memory;
    for (const [name, map] of this.maps) {
      const region = map.arena.regions().find(({ address }) => address === map.address);
      if (region === undefined) continue;
      const now = this.#memory.subarray(region.address, region.address + region.bytes);
      this.#copies.set(name, { now, before: now.slice() });
    }
  }

  /** The maps that have changed since the last call. */
  changed(): string[] {
    const names: string[] = [];
    for (const [name, { now, before }] of this.#copies) {
      if (Buffer.compare(now, before) === 0) continue;
      before.set(now);
      names.push(name);
    }
    return names;
  }
}

/** The entries of a map by their keys as text. */
function entriesOf(map: BpfMap): Map<string, unknown> {
  return new Map([...map].map(([key, value]) => [JSON.stringify(plainItem(key)), plainItem(value)]));
}

/** What differs between the maps of two programs. */
class MapComparison {
  readonly #a: WatchedMaps;
  readonly #b: WatchedMaps;
  /** By map, and by key: both values, as they were said to differ. */
  readonly #said = new Map<string, ReadonlyMap<string, string>>();
  /** Before the first packet all are looked at. */
  #isFirst = true;

  constructor(a: XdpProgram, b: XdpProgram) {
    this.#a = new WatchedMaps(a);
    this.#b = new WatchedMaps(b);
  }

  /** Entries that differ, and did not when this was called before, or not in this way. */
  next(): MapDifference[] {
    const changed = new Set([...this.#a.changed(), ...this.#b.changed()]);
    const names = [...this.#a.maps.keys()].filter((name) => this.#isFirst || changed.has(name));
    this.#isFirst = false;
    return names.flatMap((name) => {
      const [one, other] = [this.#a.maps.get(name), this.#b.maps.get(name)];
      return one === undefined || other === undefined ? [] : this.#compare(name, entriesOf(one), entriesOf(other));
    });
  }

  #compare(map: string, a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): MapDifference[] {
    const before = this.#said.get(map);
    const now = new Map<string, string>();
    const fresh: MapDifference[] = [];
    for (const key of new Set([...a.keys(), ...b.keys()])) {
      const values = [a.get(key), b.get(key)] as const;
      const [one, other] = values.map((value) => JSON.stringify(value));
      if (one === other) continue;
      const said = `${one} ${other}`;
      now.set(key, said);
      if (before?.get(key) !== said) fresh.push({ map, key: JSON.parse(key), a: values[0], b: values[1] });
    }
    this.#said.set(map, now);
    return fresh;
  }
}

const isSame = (a: RunResult, b: RunResult): boolean =>
  a.action === b.action &&
  Buffer.compare(a.packet, b.packet) === 0 &&
  a.redirect?.to === b.redirect?.to &&
  a.redirect?.target === b.redirect?.target;

/**
 * The frames of a capture with which two programs do different things: another action, another packet, another target, or
 * other entries in maps of one name. Both see all frames, at their times, and keep what they write to their maps.
 * @throws RingwayError as `readCapture`.
 */
export function* diffCapture(
  a: XdpProgram,
  b: XdpProgram,
  input: string | Uint8Array,
  context: RunContext = {},
): Generator<PacketDifference> {
  const maps = new MapComparison(a, b);
  let frame = 0;
  for (const captured of framesOf(input)) {
    frame++;
    if (captured === undefined) continue;
    for (const program of [a, b]) program.setTime(nanosecondsOf(captured));
    const [one, other] = [a.run(captured.frame, context), b.run(captured.frame, context)];
    const entries = maps.next();
    if (entries.length === 0 && isSame(one, other)) continue;
    yield { frame, packet: captured.frame, a: one, b: other, maps: entries };
  }
}
