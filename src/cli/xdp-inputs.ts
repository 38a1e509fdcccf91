import type { Step } from '../bpf/interpreter.ts';
import { loadXdpSpec } from '../config/index.ts';
import { RingwayError } from '../util/errors.ts';
import { runCapture } from '../xdp/capture.ts';
import { loadXdp, type XdpProgram } from '../xdp/run.ts';
import { runSpec, type SpecResult } from '../xdp/spec/run-spec.ts';
import { fillMaps } from './xdp-common.ts';

/** What looks on while programs run. */
export interface Observer {
  add(program: XdpProgram, object: string): void;
  onStep(step: Step): void;
}

/** What programs are watched on: the tests of specs; or an object's program on a capture. */
export interface InputFlags {
  readonly in?: string;
  readonly prog?: string;
  readonly map: readonly string[];
}

/** What ran. */
export interface Watched {
  readonly packets: number;
  /** Tests that failed. */
  readonly failed: readonly SpecResult[];
}

async function watchCapture(object: string, input: string, flags: InputFlags, observer: Observer): Promise<Watched> {
  const prog = flags.prog === undefined ? {} : { prog: flags.prog };
  const program = await loadXdp(object, { engine: 'interpreter', onStep: observer.onStep, ...prog });
  observer.add(program, object);
  fillMaps(program, flags.map);
  return { packets: runCapture(program, input).packets, failed: [] };
}

/**
 * Runs what `files` are: specs, or with `--in` the one object.
 * @throws RingwayError `BAD_ARGUMENT` when flags do not go with that.
 */
export async function watchPrograms(files: readonly string[], flags: InputFlags, observer: Observer): Promise<Watched> {
  const [first = ''] = files;
  if (flags.in !== undefined) {
    if (files.length === 1) return watchCapture(first, flags.in, flags, observer);
    throw new RingwayError('BAD_ARGUMENT', `--in: ${files.length} files are given; with a capture give one object`);
  }
  if (flags.prog !== undefined || flags.map.length > 0) {
    throw new RingwayError('BAD_ARGUMENT', '--prog and --map go with --in; a spec says which program and maps');
  }
  const results: SpecResult[] = [];
  const load = { engine: 'interpreter', onStep: observer.onStep } as const;
  for (const spec of files.map(loadXdpSpec)) {
    for await (const result of runSpec(spec, { load, onLoad: observer.add.bind(observer) })) results.push(result);
  }
  const packets = results.reduce((sum, result) => sum + result.packets, 0);
  return { packets, failed: results.filter(({ failures }) => failures.length > 0) };
}
