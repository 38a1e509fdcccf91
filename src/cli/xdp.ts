import { resolve } from 'node:path';
import type { Command } from 'commander';
import { disassemble } from '../bpf/disassemble.ts';
import { linkProgram } from '../bpf/object/load.ts';
import { type VerifierStatistics, verifyProgram } from '../bpf/verifier/verify-program.ts';
import type { XdpAttachment, XdpReport } from '../control/target.ts';
import { RingwayError } from '../util/errors.ts';
import { type CaptureRun, runCapture } from '../xdp/capture.ts';
import { loadXdp, readObject, type XdpProgram } from '../xdp/run.ts';
import { filledEntries } from '../xdp/text.ts';
import { EXIT_BROKEN } from './exit.ts';
import { formatCount } from './format.ts';
import { type RemoteFlags, untilInterrupted, withClient, withName } from './remote.ts';
import { renderTable } from './table.ts';
import { printable, processTerminal, styleOf } from './terminal.ts';
import { collect, fillMaps, type ProgramFlags, print, programOptions } from './xdp-common.ts';
import { addDiff } from './xdp-diff.ts';
import { addObserve } from './xdp-observe.ts';
import { addStep } from './xdp-step.ts';
import { addTest } from './xdp-test.ts';

interface RunFlags extends ProgramFlags {
  readonly in: string;
  readonly out?: string;
  readonly map: readonly string[];
  readonly json?: true;
}

/** The entries of a program's maps; those without any are left out, and zeroes of arrays too. */
function mapsOf(program: XdpProgram): Record<string, ReturnType<typeof filledEntries>> {
  const all = Object.entries(program.maps).map(([name, map]) => [name, filledEntries(map)] as const);
  return Object.fromEntries(all.filter(([, entries]) => entries.length > 0));
}

const ENTRIES_SHOWN = 32;

const counted = (count: number, what: string): string => `${formatCount(count)} ${what}${count === 1 ? '' : 's'}`;

/** What `xdp run` prints. */
export function renderRun(run: CaptureRun, maps: ReturnType<typeof mapsOf>): string[] {
  const lines = [
    `${counted(run.packets, 'packet')}${run.skipped > 0 ? `, ${counted(run.skipped, 'frame')} left out` : ''}`,
    ...Object.entries(run.actions)
      .filter(([, count]) => count > 0)
      .map(([action, count]) => `  ${action.padEnd(9)}${formatCount(count)}`),
    ...[...run.faults].map(([fault, count]) => `  ${formatCount(count)} aborted: ${fault}`),
    ...[...run.events].map(([map, count]) => `  ${counted(count, 'record')} in ${map}`),
    ...run.log.map((line) => `  said: ${printable(line)}`),
  ];
  for (const [name, entries] of Object.entries(maps)) {
    lines.push(`map ${name}`);
    for (const { key, value } of entries.slice(0, ENTRIES_SHOWN)) {
      lines.push(`  ${JSON.stringify(key)}: ${JSON.stringify(value)}`);
    }
    if (entries.length > ENTRIES_SHOWN) lines.push(`  and ${entries.length - ENTRIES_SHOWN} more`);
  }
  return lines;
}

function withProgram(command: Command): Command {
  return command
    .option('--prog <name>', 'which of its programs; the only one')
    .option('--trusted', 'run it without checks')
    .option('--engine <name>', 'jit or interpreter', 'jit');
}

function addRunXdp(xdp: Command): void {
  withProgram(xdp.command('run'))
    .description('run a program on each frame of a capture; print what it did, and its maps')
    .argument('<object>', 'eBPF object file')
    .requiredOption('--in <capture>', 'pcap or pcapng file to read')
    .option('--out <capture>', 'file for what passes, is sent back or redirected')
    .option('--map <name=entries>', "fill a map: 'NAME={KEY: VALUE}'; repeatable", collect, [])
    .option('--json', 'as JSON')
    .action(async (object: string, flags: RunFlags) => {
      const program = await loadXdp(object, programOptions(flags));
      fillMaps(program, flags.map);
      const run = runCapture(program, flags.in, flags.out === undefined ? {} : { output: flags.out });
      const maps = mapsOf(program);
      const { faults, events, ...rest } = run;
      const json = { ...rest, faults: Object.fromEntries(faults), events: Object.fromEntries(events), maps };
      print(flags.json === true ? [JSON.stringify(json)] : renderRun(run, maps));
    });
}

function addDisasm(xdp: Command): void {
  xdp
    .command('disasm')
    .description('print the instructions of a program, with its source lines')
    .argument('<object>', 'eBPF object file')
    .option('--prog <name>', 'which of its programs; all')
    .action((file: string, { prog }: { prog?: string }) => {
      const object = readObject(file);
      const names = prog === undefined ? object.programs.filter(({ type }) => type !== undefined) : [{ name: prog }];
      for (const { name } of names) print(disassemble(linkProgram(object, name), { source: true }));
    });
}

/** What `xdp verify` prints of a program that is accepted. */
export function renderAccepted(name: string, { instructions, states, dead }: VerifierStatistics, ms: number): string {
  const unused = dead.length === 0 ? '' : `, ${counted(dead.length, 'instruction')} never run`;
  const work = `${counted(instructions, 'instruction')} visited, ${counted(states, 'state')} kept`;
  return `${name}: accepted (${work}${unused}, ${ms.toFixed(1)} ms)`;
}

function addVerify(xdp: Command): void {
  xdp
    .command('verify')
    .description("say whether programs are safe, as the kernel's verifier does, and if not, what is missing")
    .argument('<object>', 'eBPF object file')
    .option('--prog <name>', 'which of its programs; all')
    .option('--log', 'print what is known at each instruction that is visited')
    .action((file: string, { prog: wanted, log }: { prog?: string; log?: true }) => {
      const object = readObject(file);
      const names =
        wanted === undefined ? object.programs.filter(({ type }) => type !== undefined) : [{ name: wanted }];
      if (names.length === 0) {
        throw new RingwayError('NOT_FOUND', `${file}: has no XDP program`);
      }
      const options = log === true ? { log: (line: string) => print([line]) } : {};
      for (const { name } of names) {
        const program = linkProgram(object, name);
        const start = performance.now();
        const verdict = verifyProgram(program, options);
        const ms = performance.now() - start;
        if (verdict.accepted) print([renderAccepted(name, verdict.statistics, ms)]);
        else {
          print(verdict.rejection.text.split('\n').map(printable));
          process.exitCode = EXIT_BROKEN;
        }
      }
    });
}

/** The lines of `xdp list`. */
export function renderAttachments(list: readonly XdpAttachment[], columns: number, hasColor: boolean): string[] {
  if (list.length === 0) return ['no port runs an XDP program'];
  const titles = ['PORT', 'OBJECT', 'PROGRAM', 'ATTACH', 'CHECKED'].map(
    (title) => ({ title, align: 'left', rank: 0 }) as const,
  );
  const rows = list.map(({ port, object, program, attach, checked }) => [
    ...[port, object, program, attach],
    checked ? 'yes' : 'no',
  ]);
  return renderTable(titles, rows, columns, styleOf(hasColor));
}

type AttachFlags = RemoteFlags & ProgramFlags & { readonly kernel?: true };

function addRemote(xdp: Command): void {
  withName(xdp.command('attach'))
    .description('make a port of a running dataplane run a program, instead of the one before')
    .argument('<port>', 'name of the port')
    .argument('<object>', 'eBPF object file')
    .option('--prog <name>', 'which of its programs; the only one')
    .option('--kernel', 'have the kernel run it, before packets come to an af-xdp port')
    .option('--trusted', 'run it without checks')
    .action((port: string, object: string, { prog, kernel, trusted, ...flags }: AttachFlags) =>
      withClient(flags, (client) => {
        // The dataplane may run in another directory.
        const program = {
          object: resolve(object),
          attach: kernel === true ? 'kernel' : 'ringway',
          trusted: trusted === true,
          ...(prog === undefined ? {} : { program: prog }),
        };
        return client.request('xdp.attach', { port, program });
      }),
    );
  withName(xdp.command('detach'))
    .description("take a port's program away")
    .argument('<port>', 'name of the port')
    .action((port: string, flags: RemoteFlags) =>
      withClient(flags, (client) => client.request('xdp.detach', { port })),
    );
  withName(xdp.command('list'))
    .description('list the ports that run programs')
    .action((flags: RemoteFlags) =>
      withClient(flags, async (client) => {
        const terminal = processTerminal();
        const columns = terminal.isTty ? terminal.size().columns : 400;
        print(renderAttachments(await client.request<XdpAttachment[]>('xdp.list'), columns, terminal.hasColor));
      }),
    );
  withName(xdp.command('watch'))
    .description('print what programs say, and which packets they abort; end with Ctrl-C')
    .action((flags: RemoteFlags) =>
      withClient(flags, async (client) => {
        const stream = client.stream<{ dropped: number }>('xdp.watch', {}, (event) => {
          const { kind, text, data } = event as XdpReport;
          print([printable(`${kind} ${text}${data === undefined ? '' : ` ${data}`}`)]);
        });
        await untilInterrupted(stream);
      }),
    );
}

/** Adds `ringway xdp run`, `test`, `diff`, `disasm`, `verify`, `attach`, `detach`, `list` and `watch`. */
export function addXdp(program: Command): void {
  const xdp = program
    .command('xdp')
    .description('run, test, compare, read and verify XDP programs; give them to running ports');
  addRunXdp(xdp);
  addTest(xdp);
  addObserve(xdp);
  addStep(xdp);
  addDiff(xdp);
  addDisasm(xdp);
  addVerify(xdp);
  addRemote(xdp);
}
