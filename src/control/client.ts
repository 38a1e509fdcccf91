import { createConnection, type Socket } from 'node:net';
import { type ErrorCode, RingwayError } from '../util/errors.ts';
import { suggest } from '../util/nearest.ts';
import { controlDirectory, listDataplanes, socketPath } from './paths.ts';
import { ANSWER_BYTES_MAX, type Answer, type Greeting, LineReader, PROTOCOL_VERSION } from './protocol.ts';

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onEvent: ((event: unknown) => void) | undefined;
}

/** How long a dataplane may take to greet. */
const GREETING_MS_MAX = 5000;

/** A connection to the control socket of a dataplane. */
export class ControlClient {
  /** Name of the dataplane, as it gave it. */
  readonly name: string;
  readonly pid: number;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;

  private constructor(socket: Socket, reader: LineReader, greeting: Greeting) {
    this.#socket = socket;
    this.name = greeting.name;
    this.pid = greeting.pid;
    socket.removeAllListeners('data');
    socket.removeAllListeners('close');
    socket.on('data', (chunk) => {
      reader.push(chunk);
      this.#read(reader);
    });
    socket.on('close', () => this.#fail(`${this.name}: the dataplane closed the connection; has it stopped?`));
    this.#read(reader);
  }

  /**
   * Connects to the dataplane `name`; without a name, to the one that runs.
   * @throws RingwayError `NOT_FOUND` when there is none, or several and no name; `UNSUPPORTED` on another version.
   */
  static async connect(options: { readonly name?: string; readonly directory?: string } = {}): Promise<ControlClient> {
    const { directory = controlDirectory() } = options;
    const name = options.name ?? (await onlyDataplane(directory));
    const socket = createConnection(socketPath(directory, name));
    const reader = new LineReader(ANSWER_BYTES_MAX);
    try {
      return new ControlClient(socket, reader, await readGreeting(socket, reader, name));
    } catch (error) {
      socket.destroy();
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error;
      const hint = suggest(name, await listDataplanes(directory));
      throw new RingwayError('NOT_FOUND', `no dataplane named ${JSON.stringify(name)} runs; ${hint}`);
    }
  }

  /**
   * Asks for `method` and resolves with its result.
   * @throws RingwayError what the dataplane answered, or `SYSTEM` when the connection ended.
   */
  request<T = unknown>(method: string, params: object = {}): Promise<T> {
    return this.#send<T>(method, params, undefined);
  }

  /**
   * Asks for `method` and calls `onEvent` for each of its events; resolves with its result, after the last. To end it
   * before, close the client.
   * @throws as `request` does.
   */
  stream<T = unknown>(method: string, params: object, onEvent: (event: unknown) => void): Promise<T> {
    return this.#send<T>(method, params, onEvent);
  }

  /** Ends the connection. Requests that wait are rejected. */
  close(): void {
    this.#socket.destroy();
  }

  #send<T>(method: string, params: object, onEvent: Pending['onEvent']): Promise<T> {
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new RingwayError('SYSTEM', `${this.name}: the connection is closed; connect again`));
        return;
      }
      this.#pending.set(id, { resolve: (result) => resolve(result as T), reject, onEvent });
      this.#socket.write(`${JSON.stringify({ id, method, params })}\n`);
    });
  }

  #read(reader: LineReader): void {
    for (let line = reader.next(); line !== undefined; line = reader.next()) {
      const answer = parseLine<Answer>(line);
      if (answer === undefined) this.#fail(`${this.name}: an answer is not JSON; is it a ringway dataplane?`);
      else this.#take(answer);
    }
    if (reader.isTooLong) this.#fail(`${this.name}: an answer has more than ${ANSWER_BYTES_MAX} bytes`);
  }

  #take(answer: Answer): void {
    // An answer to no request in particular: this connection is refused.
    if (answer.id === null && answer.error !== undefined) this.#fail(`${this.name}: ${answer.error.message}`);
    const pending = this.#pending.get(answer.id ?? -1);
    if (pending === undefined) return;
    if (answer.event !== undefined) {
      pending.onEvent?.(answer.event);
      return;
    }
    this.#pending.delete(answer.id ?? -1);
    if (answer.error === undefined) pending.resolve(answer.result);
    else pending.reject(remoteError(answer.error));
  }

  #fail(message: string): void {
    this.#socket.destroy();
    for (const { reject } of this.#pending.values()) reject(new RingwayError('SYSTEM', message));
    this.#pending.clear();
  }
}

function parseLine<T>(line: string): T | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}

/** The error that the other side had, with its code: its version of ringway may know others than ours. */
function remoteError({ code, message }: { code: string; message: string }): RingwayError {
  return new RingwayError(code as ErrorCode, message);
}

async function onlyDataplane(directory: string): Promise<string> {
  const names = await listDataplanes(directory);
  const [name] = names;
  if (name !== undefined && names.length === 1) return name;
  if (name === undefined) throw new RingwayError('NOT_FOUND', 'no dataplane runs; start one with `ringway run FILE`');
  throw new RingwayError('NOT_FOUND', `several dataplanes run: ${names.join(', ')}; choose one with --name`);
}

function readGreeting(socket: Socket, reader: LineReader, name: string): Promise<Greeting> {
  return new Promise((resolve, reject) => {
    const refuse = (code: ErrorCode, message: string): void => reject(new RingwayError(code, `${name}: ${message}`));
    const timer = setTimeout(() => refuse('SYSTEM', 'the dataplane does not answer; is it stopped?'), GREETING_MS_MAX);
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(timer);
      refuse('SYSTEM', 'the dataplane closed the connection');
    });
    socket.on('data', (chunk) => {
      reader.push(chunk);
      const line = reader.next();
      if (line === undefined) return;
      clearTimeout(timer);
      const greeting = parseLine<Greeting & { error?: { code: string; message: string } }>(line);
      if (greeting?.error !== undefined) return reject(remoteError(greeting.error));
      if (greeting?.ringway === PROTOCOL_VERSION) return resolve(greeting);
      refuse(
        'UNSUPPORTED',
        `speaks version ${greeting?.ringway} of the control protocol, not ${PROTOCOL_VERSION}; use its own ringway`,
      );
    });
  });
}
