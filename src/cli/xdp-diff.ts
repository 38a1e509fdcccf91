import type { Command } from 'commander';
import { diffCapture, type PacketDifference } from '../xdp/diff.ts';
import { loadXdp, type RunResult, type XdpProgram } from '../xdp/run.ts';
import { diffPackets } from '../xdp/spec/packet-diff.ts';
import { EXIT_BROKEN } from './exit.ts';
import { formatCount } from './format.ts';
import { printable } from './terminal.ts';
import { collect, fillMaps, type ProgramFlags, print, programOptions } from './xdp-common.ts';

/** What a program said of a packet. */
function verdictOf({ action, redirect, fault }: RunResult): string {
  if (fault !== undefined) return `${action} (it ${fault.reason}, at ${fault.place})`;
  return redirect === undefined ? action : `${action} to ${redirect.to} ${redirect.target}`;
}

/** What `xdp diff` prints of a frame. */
export function renderDifference({ frame, a, b, maps }: PacketDifference): string[] {
  const [old, young] = [verdictOf(a), verdictOf(b)];
  const entry = (value: unknown): string => (value === undefined ? 'no entry' : JSON.stringify(value));
  return [
    `frame ${frame}: ${old === young ? old : `${old} -> ${young}`}`,
    ...diffPackets(a.packet, b.packet, ['old', 'new']).map((line) => `    ${line}`),
    ...maps.map(
      ({ map, key, a: one, b: other }) => `    ${map}[${JSON.stringify(key)}]: ${entry(one)} -> ${entry(other)}`,
    ),
  ].map(printable);
}

/** Frames that differ, by how they do. */
interface Counts {
  frames: number;
  actions: number;
  packets: number;
  maps: number;
}

function summary({ frames, actions, packets, maps }: Counts): string {
  if (frames === 0) return 'no difference';
  const parts = [`${formatCount(actions)} in action or target`, `${formatCount(packets)} in bytes`];
  const what = [...parts, `${formatCount(maps)} in maps`].join(', ');
  return `${formatCount(frames)} ${frames === 1 ? 'frame differs' : 'frames differ'}: ${what}`;
}

/** Maps that only one of two programs has: nothing can be said of their entries. */
function onlyIn(one: XdpProgram, other: XdpProgram, file: string): string[] {
  const names = Object.keys(one.maps).filter((name) => !Object.hasOwn(other.maps, name));
  return names.map((name) => printable(`map ${name} is only in ${file}`));
}

/** Adds `ringway xdp diff`. */
export function addDiff(xdp: Command): void {
  xdp
    .command('diff')
    .description('print the frames of a capture with which two objects do different things, and how')
    .argument('<old>', 'eBPF object file')
    .argument('<new>', 'another one')
    .requiredOption('--in <capture>', 'pcap or pcapng file to read')
    .option('--prog <name>', 'which of their programs; the only one')
    .option('--map <name=entries>', "fill a map of both: 'NAME={KEY: VALUE}'; repeatable", collect, [])
    .option('--trusted', 'run them without checks')
    .option('--engine <name>', 'jit or interpreter', 'jit')
    .action(async (old: string, young: string, flags: ProgramFlags & { in: string; map: string[] }) => {
      const options = programOptions(flags);
      const [a, b] = [await loadXdp(old, options), await loadXdp(young, options)];
      for (const program of [a, b]) fillMaps(program, flags.map);
      print([...onlyIn(a, b, old), ...onlyIn(b, a, young)]);
      const counts: Counts = { frames: 0, actions: 0, packets: 0, maps: 0 };
      for (const difference of diffCapture(a, b, flags.in)) {
        const { a: one, b: other, maps } = difference;
        counts.frames++;
        if (verdictOf(one) !== verdictOf(other)) counts.actions++;
        if (Buffer.compare(one.packet, other.packet) !== 0) counts.packets++;
        if (maps.length > 0) counts.maps++;
        print(renderDifference(difference));
      }
      print([summary(counts)]);
      if (counts.frames > 0) process.exitCode = EXIT_BROKEN;
    });
}
