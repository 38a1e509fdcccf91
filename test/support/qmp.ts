import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** A socket of ours that a program is told to connect to: what it writes from its start on comes here. */
export async function listen(path: string): Promise<{ server: Server; connected: Promise<Socket> }> {
  const server = createServer().listen(path);
  await once(server, 'listening');
  const connected = once(server, 'connection').then(([socket]) => {
    server.close();
    socket.on('error', () => {});
    return socket as Socket;
  });
  connected.catch(() => {});
  return { server, connected };
}

interface Message {
  readonly QMP?: unknown;
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: unknown;
}

/** What happened in QEMU: `STOP`, `RESUME`, `MIGRATION`, … */
export interface QmpEvent {
  readonly event: string;
  readonly data: unknown;
}

/** QEMU's monitor: lines of JSON (QEMU docs/interop/qmp-spec.txt). */
export class Qmp {
  readonly events: QmpEvent[] = [];
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #rest = '';
  #next = 1;
  #greeted: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8').on('data', (chunk: string) => this.#take(chunk));
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('QEMU closed its monitor'));
      this.#waiting.clear();
    });
  }

  /** A monitor that takes commands. */
  static async over(socket: Socket): Promise<Qmp> {
    const qmp = new Qmp(socket);
    await new Promise<void>((resolve, reject) => {
      qmp.#greeted = resolve;
      socket.once('close', () => reject(new Error('QEMU closed its monitor')));
    });
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  #take(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines.filter((each) => each.trim() !== '')) {
      const message = JSON.parse(line) as Message;
      if (message.QMP !== undefined) this.#greeted();
      if (message.event !== undefined) this.events.push({ event: message.event, data: message.data });
      const waiting = this.#waiting.get(message.id ?? 0);
      this.#waiting.delete(message.id ?? 0);
      if (message.error !== undefined) waiting?.reject(new Error(`QEMU: ${message.error.desc}`));
      else waiting?.resolve(message.return);
    }
  }

  /** Returns what the command returns. Throws what QEMU says when it refuses, and when it ends. */
  execute(command: string, values: Record<string, unknown> = {}): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(new Error('QEMU has ended'));
      this.#waiting.set(id, { resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: values, id })}\n`);
    });
  }
}
