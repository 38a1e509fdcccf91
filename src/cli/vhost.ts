import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { CaptureWriter } from '../packet/index.ts';
import { checkBackend, formatResult, formatTotals } from '../vhost/conformance/run.ts';
import { type TracedMessage, VhostTracer } from '../vhost/trace.ts';
import { BLOCK_FEATURE_NAMES } from '../virtio/block-config.ts';
import { NET_FEATURE_NAMES } from '../virtio/net-features.ts';
import { EXIT_BROKEN } from './exit.ts';
import { untilInterrupted } from './remote.ts';
import { printable, processTerminal } from './terminal.ts';

const DEVICES = { net: NET_FEATURE_NAMES, block: BLOCK_FEATURE_NAMES };
type Device = keyof typeof DEVICES;

/** LINKTYPE_USER0: what a frame is, is between those who write and who read the file. */
const LINK_TYPE_USER0 = 147;

function timeOf(atMs: number): string {
  const micros = String(Math.floor((atMs % 1) * 1000)).padStart(3, '0');
  return `${new Date(atMs).toISOString().slice(11, 23)}${micros}`;
}

/** `12:34:56.789012 1 → GET_FEATURES`: arrows point away from the frontend; those of the backend channel are double. */
function lineOf({ atMs, client, from, backendChannel, text }: TracedMessage): string {
  const arrow = from === 'frontend' ? (backendChannel ? '⇒' : '→') : backendChannel ? '⇐' : '←';
  return `${timeOf(atMs)} ${client} ${arrow} ${text}`;
}

/** A file with a frame for each message: its bytes, and its line as a comment. */
function fileOf(path: string): { write(message: TracedMessage): void; close(): void } {
  const writer = new CaptureWriter(path, { format: 'pcapng', linkTypes: [LINK_TYPE_USER0, LINK_TYPE_USER0] });
  return {
    write(message) {
      const { atMs, bytes, size, backendChannel } = message;
      const seconds = Math.floor(atMs / 1000);
      const nanoseconds = Math.floor((atMs - seconds * 1000) * 1e6);
      const comment = lineOf(message);
      // A size is anybody's word.
      const wireLength = Math.min(size, 2 ** 32 - 1);
      writer.write(bytes, { seconds, nanoseconds, wireLength, interface: backendChannel ? 1 : 0, comment });
      writer.flush();
    },
    close: () => writer.close(),
  };
}

async function trace(listen: string, connect: string, flags: { type?: Device; write?: string }): Promise<void> {
  const terminal = processTerminal();
  const file = flags.write === undefined ? undefined : fileOf(flags.write);
  const print = (line: string): void => terminal.write(`${printable(line)}\n`);
  const tracer = new VhostTracer({
    listen: resolve(listen),
    connect: resolve(connect),
    ...(flags.type === undefined ? {} : { device: DEVICES[flags.type] }),
    onMessage(message) {
      print(lineOf(message));
      file?.write(message);
    },
    onEvent: (client, text) => print(`${timeOf(Date.now())} ${client} - ${text}`),
  });
  // Its thread alone keeps no process alive.
  const alive = setInterval(() => {}, 1 << 30);
  await untilInterrupted(new Promise<never>(() => {}));
  await tracer.close();
  clearInterval(alive);
  file?.close();
}

interface ConformanceFlags {
  readonly type: Device;
  readonly only?: readonly string[];
  readonly json?: true;
}

async function conformance(socket: string, { type, only, json }: ConformanceFlags): Promise<void> {
  const print = (text: string): void => processTerminal().write(`${text}\n`);
  const results = await checkBackend({
    socket: resolve(socket),
    type,
    ...(only === undefined ? {} : { only }),
    ...(json ? {} : { onResult: (result) => print(formatResult(result)) }),
  });
  print(json ? JSON.stringify(results, null, 2) : formatTotals(results));
  if (results.some(({ status }) => status === 'FAIL')) process.exitCode = EXIT_BROKEN;
}

/** Adds `ringway vhost trace` and `ringway vhost conformance`. */
export function addVhost(program: Command): void {
  const vhost = program.command('vhost').description('look at vhost-user connections of any programs');
  vhost
    .command('trace')
    .description('stand between a frontend and a backend, and print every message; end with Ctrl-C')
    .argument('<listen>', 'the socket to listen at, for frontends')
    .argument('<connect>', 'the socket at which the backend listens')
    .addOption(new Option('--type <device>', 'name the feature bits of this device').choices(Object.keys(DEVICES)))
    .option('--write <file.pcapng>', 'write the messages to a file too, for Wireshark')
    .action(trace);
  vhost
    .command('conformance')
    .description(
      'check a backend, as a frontend that keeps the rules and ones that break them; it exits with 1 on failures',
    )
    .argument('<socket>', 'the socket at which the backend listens')
    .addOption(new Option('--type <device>', 'what it is').choices(Object.keys(DEVICES)).default('net'))
    .option('--only <check...>', 'only these checks; `ring-*` is all that begin so')
    .option('--json', 'print an array of results')
    .action(conformance);
}
