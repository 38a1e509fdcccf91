import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Permissions, StoreOperations, StoreTransaction, Unwatch, XenStore } from 'ringway/xen';
import {
  encodeStoreMessage,
  type StoreMessage,
  StoreMessageReader,
  stringsIn,
  XS,
  zeroEnded,
} from '#build/xen/system/store-wire.js';

const NOTHING = zeroEnded(['OK']);

/** What xenstored knows of one who is connected. */
class Connection {
  readonly #store: XenStore;
  readonly #socket: Duplex;
  readonly #transactions = new Map<number, StoreTransaction>();
  readonly #watches = new Map<string, Unwatch>();
  #serial = 0;

  constructor(store: XenStore, socket: Duplex) {
    this.#store = store;
    this.#socket = socket;
    const reader = new StoreMessageReader();
    let work = Promise.resolve();
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      for (const message of reader.push(chunk)) work = work.then(() => this.#answer(message));
    });
    socket.on('close', () => {
      for (const unwatch of this.#watches.values()) void unwatch();
    });
  }

  #send(type: number, request: number, transaction: number, payload: Uint8Array): void {
    this.#socket.write(encodeStoreMessage({ type, request, transaction, payload }));
  }

  async #answer(message: StoreMessage): Promise<void> {
    const { type, request, transaction } = message;
    try {
      this.#send(type, request, transaction, await this.#do(message));
    } catch (error) {
      const name = (error as { error?: string }).error ?? 'EINVAL';
      this.#send(XS.error, request, transaction, zeroEnded([name]));
    }
  }

  async #do({ type, request, transaction, payload }: StoreMessage): Promise<Uint8Array> {
    const on: StoreOperations = this.#transactions.get(transaction) ?? this.#store;
    const [path = '', ...rest] = stringsIn(payload);
    const [token = ''] = rest;
    const known = `${path}\0${token}`;
    switch (type) {
      case XS.read:
        return Buffer.from(await on.read(path));
      case XS.directory:
        return zeroEnded(await on.directory(path));
      case XS.write:
        await on.write(path, Buffer.from(payload.subarray(path.length + 1)).toString());
        return NOTHING;
      case XS.mkdir:
        await on.mkdir(path);
        return NOTHING;
      case XS.remove:
        await on.remove(path);
        return NOTHING;
      case XS.getPermissions:
        return zeroEnded((await on.permissions(path)).map(({ access, domid }) => `${access}${domid}`));
      case XS.setPermissions: {
        const permissions = rest.map((text) => ({ access: text[0], domid: Number(text.slice(1)) }));
        await on.setPermissions(path, permissions as unknown as Permissions);
        return NOTHING;
      }
      case XS.transactionStart: {
        const made = ++this.#serial;
        this.#transactions.set(made, await this.#store.begin());
        return zeroEnded([String(made)]);
      }
      case XS.transactionEnd: {
        const made = this.#transactions.get(transaction);
        this.#transactions.delete(transaction);
        await (path === 'T' ? made?.commit() : made?.abort());
        return NOTHING;
      }
      case XS.watch:
        this.#watches.set(
          known,
          await this.#store.watch(path, token, (changed) => {
            this.#send(XS.watchEvent, 0, 0, zeroEnded([changed, token]));
          }),
        );
        return NOTHING;
      case XS.unwatch:
        await this.#watches.get(known)?.();
        this.#watches.delete(known);
        return NOTHING;
      default:
        throw new Error(`request ${request} has type ${type}`);
    }
  }
}

/** A server at `path`; `close` ends it and all its connections. */
export async function serveSocket(
  path: string,
  onClient: (socket: Socket) => void,
): Promise<{ close(): Promise<void> }> {
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    onClient(socket);
  }).listen(path);
  await once(server, 'listening');
  return {
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A xenstored at the other end of `stream`, which shows what `store` shows. */
export function serveStream(stream: Duplex, store: XenStore): void {
  new Connection(store, stream);
}

/** A xenstored at `path`, which shows what `store` shows. */
export function serveStore(path: string, store: XenStore): Promise<{ close(): Promise<void> }> {
  return serveSocket(path, (socket) => serveStream(socket, store));
}
