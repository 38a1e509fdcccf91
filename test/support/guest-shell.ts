import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';

/** How a command of a guest ended, and what it wrote to both its outputs. */
export interface CommandResult {
  readonly code: number;
  readonly output: string;
}

/** The other end of what the guest's first program reads and writes; see `initWith` in guest-image.ts. */
export class GuestShell {
  readonly #socket: Socket;
  readonly #waiting = new Map<string, (result: CommandResult) => void>();
  #rest: Uint8Array = new Uint8Array(0);

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#take(chunk));
  }

  #take(chunk: Uint8Array): void {
    let rest = Buffer.concat([this.#rest, chunk]);
    while (true) {
      const line = rest.indexOf(10);
      if (line < 0) break;
      const [, word, code, length] = /^(\w+) (\d+) (\d+)$/.exec(rest.toString('latin1', 0, line)) ?? [];
      const end = line + 1 + Number(length ?? 0);
      if (rest.length < end) break;
      const waiting = this.#waiting.get(word ?? '');
      this.#waiting.delete(word ?? '');
      waiting?.({ code: Number(code), output: rest.toString('utf8', line + 1, end) });
      rest = rest.subarray(end);
    }
    this.#rest = rest;
  }

  /** The answer that begins with `word`. */
  answer(word: string): Promise<CommandResult> {
    return new Promise((resolve) => this.#waiting.set(word, resolve));
  }

  /** Has the guest run a command, beside those that it runs. */
  run(command: string): Promise<CommandResult> {
    const word = `c${randomBytes(8).toString('hex')}`;
    this.#socket.write(`${word} ${Buffer.from(command).toString('base64')}\n`);
    return this.answer(word);
  }
}
