import { type Poller, requireSys } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { Channel, type Message } from './channel.ts';
import { BACKEND_REQUEST, FLAG_NEED_REPLY, FLAG_REPLY, requestName, U64 } from './protocol.ts';

/** Messages that one turn takes. */
const MESSAGES_PER_TURN = 64;

/** Who hears of what a backend asks. */
export interface BackendListener {
  /** REPLY_ACK was negotiated. */
  readonly acknowledges: boolean;
  configChanged(): void;
  /** The backend broke the protocol: nothing more is read. */
  failed(error: RingwayError): void;
}

/** The channel on which a backend asks its frontend. */
export class BackendRequests {
  readonly #channel: Channel;
  readonly #name: string;
  readonly #listener: BackendListener;
  readonly #closeFd: (fd: number) => void;
  #unwatch: () => void;

  /** @param fd our end of the channel, which is this one's to close. */
  constructor(fd: number, name: string, poller: Poller, listener: BackendListener) {
    this.#channel = new Channel(fd, name);
    this.#name = name;
    this.#listener = listener;
    this.#closeFd = requireSys(name).closeFd;
    this.#unwatch = poller.watch(fd, () => this.#serve());
  }

  #serve(): void {
    try {
      for (let i = 0; i < MESSAGES_PER_TURN; i++) {
        const message = this.#channel.read();
        if (message === 'again') return;
        if (message !== 'closed') {
          this.#take(message);
          continue;
        }
        this.#ignore();
        return;
      }
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      this.#ignore();
      this.#listener.failed(error);
    }
  }

  #take({ request, flags, fds }: Message): void {
    for (const fd of fds) this.#closeFd(fd);
    const name = requestName(request, true);
    const refuse = (why: string): RingwayError =>
      new RingwayError('BAD_ARGUMENT', `${this.#name}: the backend sends ${name}, ${why}`);
    if (request !== BACKEND_REQUEST.CONFIG_CHANGE_MSG) throw refuse('which was not negotiated');
    if (flags & FLAG_REPLY) throw refuse('as a reply, and nothing was asked');
    this.#listener.configChanged();
    if ((flags & FLAG_NEED_REPLY) === 0 || !this.#listener.acknowledges) return;
    if (!this.#channel.send(request, U64.write(0n), { reply: true })) throw refuse('and does not read the reply');
  }

  #ignore(): void {
    this.#unwatch();
    this.#unwatch = () => {};
  }

  close(): void {
    this.#ignore();
    this.#channel.close();
  }
}
