import type { BtfValue } from '../../bpf/object/values.ts';
import type { XdpAction } from '../actions.ts';
import type { RedirectTarget, RunContext } from '../run.ts';

/** What maps hold: by name of the map, values by key, as people write them. */
export type MapContents = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Tests of the programs of one object file, as a file describes them. */
export interface XdpSpec {
  /** Path of the file that it was read from, as it was given. */
  readonly file: string;
  /** Path of the object file. */
  readonly object: string;
  /** The program that tests run which name none; undefined: the only one. */
  readonly program?: string;
  readonly cpus: number;
  readonly seed: number;
  readonly variables: Readonly<Record<string, BtfValue>>;
  /** What maps hold when each test begins, beside what the test says. */
  readonly maps: MapContents;
  readonly tests: readonly SpecTest[];
  /** `file:line:col path` of what is at a path in the file; the line is that of the nearest thing around it. */
  placeOf(path: SpecPath): string;
}

/** Keys and indexes from the root of a spec. */
export type SpecPath = readonly (string | number)[];

/** A test: packets one after another, which see what those before them left in the maps. */
export interface SpecTest {
  readonly name: string;
  readonly program?: string;
  readonly maps: MapContents;
  readonly packets: readonly SpecPacket[];
  /** What maps must hold afterwards: null for an entry that must not be there. */
  readonly after: MapContents;
}

/** Packets that go in, and what must come of them. */
export interface SpecPacket {
  /** The packet, or the capture that they are in: of `frame` that one alone, from 1 as Wireshark counts. */
  readonly in: Uint8Array | { readonly capture: string; readonly frame?: number };
  readonly from: RunContext;
  /** The time, in nanoseconds; undefined: that of the capture, or as it was. */
  readonly now?: number;
  /** What each must get; or how many must get what, and no others anything. */
  readonly action?: XdpAction | Readonly<Partial<Record<XdpAction, number>>>;
  /** How it must leave; or a capture of how those must leave that are not dropped, in order. */
  readonly out?: 'same' | Uint8Array | { readonly capture: string };
  /** Where each must be redirected to: what is given here. */
  readonly redirect?: Partial<RedirectTarget>;
  /** All that the program must say with trace_printk. */
  readonly log?: readonly string[];
}
