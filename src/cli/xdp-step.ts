import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { RingwayError } from '../util/errors.ts';
import { framesOf, nanosecondsOf } from '../xdp/capture.ts';
import { loadXdp } from '../xdp/run.ts';
import { XdpDebugger } from '../xdp/step/debugger.ts';
import { Recording, StepTap } from '../xdp/step/recording.ts';
import { EXIT_BROKEN } from './exit.ts';
import { printable, processTerminal } from './terminal.ts';
import { collect, fillMaps, print } from './xdp-common.ts';

interface StepFlags {
  readonly in: string;
  readonly frame: string;
  readonly prog?: string;
  readonly map: readonly string[];
}

/** Runs the frames of a capture before the one that is wanted, and records that. */
async function recordFrame(object: string, flags: StepFlags): Promise<Recording> {
  const wanted = /^[1-9]\d{0,9}$/.test(flags.frame) ? Number(flags.frame) : undefined;
  if (wanted === undefined) {
    throw new RingwayError('BAD_ARGUMENT', `--frame: ${JSON.stringify(flags.frame)} is no number from 1`);
  }
  const tap = new StepTap();
  const prog = flags.prog === undefined ? {} : { prog: flags.prog };
  const program = await loadXdp(object, { engine: 'interpreter', onStep: tap.onStep, ...prog });
  fillMaps(program, flags.map);
  let number = 0;
  for (const captured of framesOf(flags.in)) {
    number++;
    if (captured === undefined) continue;
    program.setTime(nanosecondsOf(captured));
    if (number === wanted) return new Recording(program, tap, captured.frame);
    program.run(captured.frame);
  }
  throw new RingwayError(
    'NOT_FOUND',
    `${flags.in}: has no frame ${wanted} that a program can run on; it has ${number}`,
  );
}

/** Reads commands until the end of the input, or `quit`. An error of one does not end it, but a script's exit code says so. */
async function converse(debug: XdpDebugger): Promise<void> {
  const isTty = process.stdin.isTTY === true;
  const show = (lines: readonly string[]): void => print(lines.map(printableLine));
  const reader = createInterface({
    input: process.stdin,
    ...(isTty ? { output: process.stdout } : {}),
    prompt: '(xdp) ',
  });
  let last = '';
  show(debug.where());
  if (isTty) reader.prompt();
  for await (const given of reader) {
    // An empty line repeats the last command, for who types; gdb does so.
    const line = isTty && given.trim() === '' ? last : given;
    last = line;
    if (/^\s*(quit|q)\s*$/.test(line)) break;
    try {
      show(debug.do(line));
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      processTerminal().note(`${printable(error.message)}\n`);
      if (!isTty) process.exitCode = EXIT_BROKEN;
    }
    if (isTty) reader.prompt();
  }
  reader.close();
}

/** Tabs are in every source, and harmless. */
const printableLine = (line: string): string => line.split('\t').map(printable).join('\t');

/** Adds `ringway xdp step`. */
export function addStep(xdp: Command): void {
  xdp
    .command('step')
    .description('debug a program on one packet, forwards and backwards; commands from standard input, see help there')
    .argument('<object>', 'eBPF object file')
    .requiredOption('--in <capture>', 'pcap or pcapng file to read')
    .option('--frame <number>', 'the frame to stop in, from 1; those before it run first', '1')
    .option('--prog <name>', 'which of its programs; the only one')
    .option('--map <name=entries>', "fill a map: 'NAME={KEY: VALUE}'; repeatable", collect, [])
    .action(async (object: string, flags: StepFlags) => {
      await converse(new XdpDebugger(await recordFrame(object, flags), object));
    });
}
