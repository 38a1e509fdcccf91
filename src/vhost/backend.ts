import type { Arena } from '../memory/arena.ts';
import { requireSys } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { BackendState } from './backend-state.ts';
import { Channel, type Message } from './channel.ts';
import type { VhostDevice } from './device.ts';
import type { Answer } from './handler.ts';
import { handle } from './handlers.ts';
import { BACKEND_REQUEST, FLAG_NEED_REPLY, FLAG_REPLY, PROTOCOL_F, requestName, U64 } from './protocol.ts';
import type { Connection } from './service.ts';

/** Messages that one turn takes: a client that floods keeps the control thread from nothing else. */
const MESSAGES_PER_TURN = 64;

/** The device's side of one vhost-user connection: messages in order, one at a time. */
export class Backend implements Connection {
  readonly #state: BackendState;
  readonly #channel: Channel;
  readonly #closeFd: (fd: number) => void;

  /**
   * @param fd the connection; it is the backend's from now on.
   * @throws RingwayError `ARENA_FULL`.
   */
  constructor(arena: Arena, name: string, device: VhostDevice, fd: number) {
    this.#closeFd = requireSys(name).closeFd;
    this.#channel = new Channel(fd, name);
    try {
      this.#state = new BackendState(arena, name, device);
    } catch (error) {
      this.#channel.close();
      throw error;
    }
  }

  get fd(): number {
    return this.#channel.fd;
  }

  async serve(): Promise<boolean> {
    for (let i = 0; i < MESSAGES_PER_TURN; i++) {
      const message = this.#channel.read();
      if (message === 'closed') return false;
      if (message === 'again') break;
      await this.#take(message);
    }
    await this.#state.settle();
    return true;
  }

  async #take(message: Message): Promise<void> {
    const { request, flags } = message;
    const fds = new Set(message.fds);
    const keep = (fd: number): number => {
      fds.delete(fd);
      return fd;
    };
    const needsReply = (flags & FLAG_NEED_REPLY) !== 0 && this.#state.has(PROTOCOL_F.REPLY_ACK);
    let answer: Answer;
    try {
      if (flags & FLAG_REPLY) throw this.#state.refuse(`${requestName(request)}: is a reply, and nothing was asked`);
      answer = await handle(this.#state, { ...message, keep });
      if (needsReply) {
        await this.#state.settle();
        answer ??= { payload: U64.write(0n) };
      }
    } catch (error) {
      // A frontend that asked learns that it was refused; of another one nobody knows what it believes.
      if (!needsReply || !(error instanceof RingwayError)) throw error;
      answer = { payload: U64.write(1n) };
    } finally {
      for (const fd of fds) this.#closeFd(fd);
    }
    if (answer === undefined) return;
    const { payload, fd } = answer;
    const isSent = this.#channel.send(request, payload, { reply: true, fds: fd === undefined ? [] : [fd] });
    if (fd !== undefined) this.#closeFd(fd);
    if (!isSent) throw this.#state.refuse('the frontend does not read its replies');
  }

  /** Tells the frontend that the configuration changed. False when it has no way to hear of it. */
  configChanged(): boolean {
    const { requests } = this.#state;
    if (requests === undefined || !this.#state.has(PROTOCOL_F.CONFIG)) return false;
    return requests.send(BACKEND_REQUEST.CONFIG_CHANGE_MSG, new Uint8Array(0));
  }

  check(): void {
    this.#state.check();
  }

  async close(): Promise<void> {
    await this.#state.close();
    this.#channel.close();
  }

  abandon(): void {
    this.#state.abandon();
    this.#channel.close();
  }
}
