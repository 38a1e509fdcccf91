import type { Command } from 'commander';
import { ControlClient } from '../control/index.ts';

/** Options of every command that talks to a running dataplane. */
export interface RemoteFlags {
  readonly name?: string;
}

/** Adds `--name` to such a command. */
export function withName(command: Command): Command {
  return command.option('--name <name>', 'of the dataplane; needed when several run');
}

/** Connects, does `work`, and closes the connection. */
export async function withClient<T>({ name }: RemoteFlags, work: (client: ControlClient) => Promise<T>): Promise<T> {
  const client = await ControlClient.connect(name === undefined ? {} : { name });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** What a stream ends with, or undefined when Ctrl-C ends it first. */
export function untilInterrupted<T>(stream: Promise<T>): Promise<T | undefined> {
  const interrupted = new Promise<undefined>((resolve) => {
    process.once('SIGINT', () => resolve(undefined));
    process.once('SIGTERM', () => resolve(undefined));
  });
  // Closing the client rejects it, after everybody stopped waiting.
  stream.catch(() => {});
  return Promise.race([stream, interrupted]);
}
