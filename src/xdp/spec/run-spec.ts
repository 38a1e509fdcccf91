import { RingwayError } from '../../util/errors.ts';
import { XDP_ACTIONS, type XdpAction } from '../actions.ts';
import { framesOf, nanosecondsOf } from '../capture.ts';
import { loadXdp, type RunResult, type XdpOptions, type XdpProgram } from '../run.ts';
import { writeEntry } from '../text.ts';
import { entryDiffers, mapNamed, namesOf } from './map-entries.ts';
import { diffPackets } from './packet-diff.ts';
import type { MapContents, SpecPacket, SpecPath, SpecTest, XdpSpec } from './spec.ts';

/** Something that was not as a test says. */
export interface SpecFailure {
  /** `file:line:col path` of what the test says. */
  readonly place: string;
  readonly message: string;
  /** More about it, line by line. */
  readonly details: readonly string[];
}

/** What became of a test. */
export interface SpecResult {
  readonly file: string;
  readonly name: string;
  /** Packets that it ran. */
  readonly packets: number;
  /** Empty when it passed. */
  readonly failures: readonly SpecFailure[];
}

/** How specs are run. */
export interface SpecOptions {
  /** What runs the programs, as for `loadXdp`. */
  readonly load?: Pick<XdpOptions, 'engine' | 'trusted' | 'onStep'>;
  /** Told of each program before it runs. */
  readonly onLoad?: (program: XdpProgram, object: string) => void;
}

/** A program of a spec, and what puts its memory back to how it was loaded. */
interface Loaded {
  readonly program: XdpProgram;
  readonly restore: () => void;
}

/** A packet on its way: what went in, and what came of it. */
interface Ran {
  readonly packet: Uint8Array;
  readonly result: RunResult;
}

const isGone = (action: XdpAction): boolean => action === 'DROP' || action === 'ABORTED';

/** Why a program was ended, when it was. */
const faultOf = ({ fault }: RunResult): string =>
  fault === undefined ? '' : `: it ${fault.reason}, at ${fault.place}`;

/** Runs the tests of one spec. */
class SpecRunner {
  readonly #spec: XdpSpec;
  readonly #options: SpecOptions;
  readonly #loaded = new Map<string | undefined, Loaded>();
  #failures: SpecFailure[] = [];

  constructor(spec: XdpSpec, options: SpecOptions) {
    this.#spec = spec;
    this.#options = options;
  }

  /** Gives an error that something of the spec has led to the place of that. */
  #at<T>(path: SpecPath, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.#placed(path, error);
    }
  }

  #placed(path: SpecPath, error: unknown): unknown {
    if (!(error instanceof RingwayError) || error.code === 'BAD_CONFIG') return error;
    return new RingwayError('BAD_CONFIG', `${this.#spec.placeOf(path)}: ${error.message}`, { cause: error });
  }

  #fail(path: SpecPath, message: string, details: readonly string[] = []): void {
    this.#failures.push({ place: this.#spec.placeOf(path), message, details });
  }

  async #load(name: string | undefined, path: SpecPath): Promise<Loaded> {
    const there = this.#loaded.get(name);
    if (there !== undefined) return there;
    const { object, cpus, seed, variables } = this.#spec;
    const { load = {}, onLoad } = this.#options;
    const options = { ...load, cpus, seed, variables, ...(name === undefined ? {} : { prog: name }) };
    try {
      const program = await loadXdp(object, options);
      onLoad?.(program, object);
      const loaded = { program, restore: program.save() };
      this.#loaded.set(name, loaded);
      return loaded;
    } catch (error) {
      throw this.#placed(path, error);
    }
  }

  async run(test: SpecTest, path: SpecPath): Promise<SpecResult> {
    const { file, program: common, maps } = this.#spec;
    const named: SpecPath =
      test.program !== undefined ? [...path, 'program'] : common !== undefined ? ['program'] : ['object'];
    const { program, restore } = await this.#load(test.program ?? common, named);
    restore();
    this.#failures = [];
    this.#fill(program, maps, ['maps']);
    this.#fill(program, test.maps, [...path, 'maps']);
    let packets = 0;
    for (const [index, packet] of test.packets.entries()) {
      const at = [...path, 'packets', index];
      const ran = this.#runPacket(program, packet, at);
      packets += ran.length;
      this.#compare(packet, ran, at);
    }
    this.#compareMaps(program, test.after, [...path, 'after']);
    return { file, name: test.name, packets, failures: this.#failures };
  }

  #fill(program: XdpProgram, maps: MapContents, path: SpecPath): void {
    for (const [name, entries] of Object.entries(maps)) {
      const map = this.#at([...path, name], () => mapNamed(program, name, program.name));
      for (const [key, value] of Object.entries(entries)) {
        this.#at([...path, name, key], () => writeEntry(map, key, value, namesOf(program)));
      }
    }
  }

  #runPacket(program: XdpProgram, { in: source, from, now }: SpecPacket, path: SpecPath): Ran[] {
    const run = (packet: Uint8Array): Ran => this.#at(path, () => ({ packet, result: program.run(packet, from) }));
    if (now !== undefined) program.setTime(now);
    if (source instanceof Uint8Array) return [run(source)];
    const ran: Ran[] = [];
    this.#at([...path, 'capture'], () => {
      let number = 0;
      for (const captured of framesOf(source.capture)) {
        number++;
        if (captured === undefined || (source.frame !== undefined && source.frame !== number)) continue;
        if (now === undefined) program.setTime(nanosecondsOf(captured));
        ran.push(run(captured.frame));
        if (source.frame !== undefined) break;
      }
    });
    if (ran.length > 0) return ran;
    const what = source.frame === undefined ? 'no frame' : `no frame ${source.frame}`;
    const error = new RingwayError('NOT_FOUND', `${source.capture} has ${what} that a program can run on`);
    throw this.#placed([...path, source.frame === undefined ? 'capture' : 'frame'], error);
  }

  #compare(packet: SpecPacket, ran: readonly Ran[], path: SpecPath): void {
    const { action, out, redirect, log } = packet;
    // Which of several packets it was.
    const which = (index: number): string => (ran.length > 1 ? `packet ${index + 1} of ${ran.length}: ` : '');
    if (typeof action === 'object') this.#compareCounts(action, ran, [...path, 'action']);
    for (const [index, { packet: sent, result }] of ran.entries()) {
      if (typeof action === 'string' && result.action !== action) {
        const got = `${result.action}${faultOf(result)}`;
        this.#fail([...path, 'action'], `${which(index)}expected ${action}, got ${got}`);
      }
      const wanted = out === 'same' ? sent : out instanceof Uint8Array ? out : undefined;
      if (wanted !== undefined) this.#comparePacket(wanted, result.packet, which(index), [...path, 'out']);
      for (const [name, value] of Object.entries(redirect ?? {})) {
        const got = result.redirect?.[name as keyof typeof result.redirect];
        if (got === value) continue;
        const there = result.redirect === undefined ? `no redirect, but ${result.action}` : String(got ?? 'none');
        this.#fail([...path, 'redirect', name], `${which(index)}expected ${value}, got ${there}`);
      }
    }
    if (typeof out === 'object' && !(out instanceof Uint8Array)) this.#compareCapture(out.capture, ran, path);
    if (log !== undefined) this.#compareLog(log, ran, [...path, 'log']);
  }

  #compareCounts(wanted: Readonly<Partial<Record<XdpAction, number>>>, ran: readonly Ran[], path: SpecPath): void {
    for (const action of XDP_ACTIONS) {
      const got = ran.filter(({ result }) => result.action === action).length;
      const expected = wanted[action] ?? 0;
      if (got !== expected) this.#fail([...path, action], `expected ${expected} of ${action}, got ${got}`);
    }
  }

  #comparePacket(wanted: Uint8Array, got: Uint8Array, which: string, path: SpecPath): void {
    const [message, ...details] = diffPackets(wanted, got);
    if (message !== undefined) this.#fail(path, `${which}${message}`, details);
  }

  #compareCapture(file: string, ran: readonly Ran[], path: SpecPath): void {
    const at = [...path, 'outCapture'];
    const left = ran.filter(({ result }) => !isGone(result.action)).map(({ result }) => result.packet);
    const wanted = this.#at(at, () => [...framesOf(file)].flatMap((captured) => captured?.frame ?? []));
    if (left.length !== wanted.length) {
      this.#fail(at, `expected ${wanted.length} packets that go on, got ${left.length}`);
    }
    for (const [index, frame] of wanted.slice(0, left.length).entries()) {
      this.#comparePacket(frame, left[index] as Uint8Array, `packet ${index + 1} of those that go on: `, at);
    }
  }

  #compareLog(wanted: readonly string[], ran: readonly Ran[], path: SpecPath): void {
    const got = ran.flatMap(({ result }) => result.log);
    for (let index = 0; index < Math.max(wanted.length, got.length); index++) {
      if (wanted[index] === got[index]) continue;
      const [expected, said] = [wanted[index], got[index]].map((line) =>
        line === undefined ? 'no more' : JSON.stringify(line),
      );
      this.#fail([...path, index], `expected ${expected}, got ${said}`);
      return;
    }
  }

  #compareMaps(program: XdpProgram, maps: MapContents, path: SpecPath): void {
    for (const [name, entries] of Object.entries(maps)) {
      const map = this.#at([...path, name], () => mapNamed(program, name, program.name));
      for (const [key, value] of Object.entries(entries)) {
        const at = [...path, name, key];
        const differs = this.#at(at, () => entryDiffers(map, key, value, namesOf(program)));
        if (differs !== undefined) this.#fail(at, `expected ${differs.expected}, got ${differs.got}`);
      }
    }
  }
}

/**
 * Runs the tests of a spec, one after another, each with its maps as new.
 * @throws RingwayError `BAD_CONFIG` with the place in the spec of what cannot be: an object that cannot be loaded, an entry
 *   that a map does not take, a capture that is not there.
 */
export async function* runSpec(spec: XdpSpec, options: SpecOptions = {}): AsyncGenerator<SpecResult> {
  const runner = new SpecRunner(spec, options);
  for (const [index, test] of spec.tests.entries()) yield await runner.run(test, ['tests', index]);
}
