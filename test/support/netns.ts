import { execFileSync } from 'node:child_process';
import { Program } from './program.ts';

const CALL_MS = 20_000;
let made = 0;

/** A network namespace of our own: its interfaces reach nothing but what a test connects to them. */
export class Namespace {
  readonly name = `ringway-${process.pid}-${made++}`;

  constructor() {
    execFileSync('ip', ['netns', 'add', this.name], { timeout: CALL_MS });
    this.run('ip', 'link', 'set', 'lo', 'up');
  }

  /** Runs a command in it, to its end. Returns what it writes; throws with that when it fails. */
  run(...command: readonly string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, ...command], {
      encoding: 'utf8',
      timeout: CALL_MS,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Starts a program in it, which `endPrograms` ends. */
  start(name: string, ...command: readonly string[]): Program {
    // ip becomes the program.
    return new Program(name, 'ip', ['netns', 'exec', this.name, ...command], 120_000);
  }

  /** Takes it away, with the interfaces in it. Programs in it have ended. */
  remove(): void {
    execFileSync('ip', ['netns', 'delete', this.name], { timeout: CALL_MS });
  }
}

/** Why network namespaces cannot be made here; undefined when they can. */
export function namespacesUnavailable(): string | undefined {
  try {
    new Namespace().remove();
    return undefined;
  } catch (error) {
    return `no network namespaces: ${(error as Error).message.split('\n', 1)[0]}`;
  }
}
