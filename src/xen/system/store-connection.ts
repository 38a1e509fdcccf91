import { RingwayError } from '../../util/errors.ts';
import type { Access, Permissions, StoreOperations, StoreTransaction, Unwatch, XenStore } from '../store-client.ts';
import { absolutePath, isStoreErrorName, StoreError } from '../store-path.ts';
import type { OpenLink, StoreLink } from './store-links.ts';
import { encodeStoreMessage, type StoreMessage, StoreMessageReader, stringsIn, XS, zeroEnded } from './store-wire.ts';

/** Domains have lower numbers (DOMID_FIRST_RESERVED of Xen's xen.h). */
const DOMID_RESERVED = 0x7ff0;

interface Pending {
  readonly type: number;
  readonly what: string;
  resolve(payload: Uint8Array): void;
  reject(error: Error): void;
}

interface Watch {
  readonly path: string;
  readonly token: string;
  readonly onChange: (path: string, token: string) => void;
}

function parsePermission(text: string): { domid: number; access: Access } {
  const match = /^([nrwb])(\d{1,5})$/.exec(text);
  if (match === null) throw new RingwayError('BAD_REQUEST', `xenstore: ${JSON.stringify(text)} is no permission`);
  return { access: match[1] as Access, domid: Number(match[2]) };
}

/** A connection to xenstored. */
export class StoreConnection implements XenStore {
  readonly #link: StoreLink;
  readonly #reader = new StoreMessageReader();
  readonly #pending = new Map<number, Pending>();
  /** By the token that xenstored knows: callers may use one for several paths, and an event has no more than it. */
  readonly #watches = new Map<string, Watch>();
  readonly #operations: StoreOperations;
  #serial = 0;
  /** Why there is no connection any more. */
  #ended: Error | undefined;

  #domid = 0;

  /**
   * @param onEnd is called once with why the connection ended, unless `close` did: nothing works any more, and no watch is told of
   *   anything. A xenstored cannot be started again without its machine.
   */
  constructor(open: OpenLink, onEnd: (error: Error) => void) {
    this.#operations = this.#operationsOf(0);
    const end = (error: Error): void => {
      if (this.#ended === undefined) onEnd(this.#end(error));
    };
    this.#link = open({
      end,
      data: (chunk) => {
        try {
          for (const message of this.#reader.push(chunk)) this.#take(message);
        } catch (error) {
          end(error as Error);
        }
      },
    });
  }

  /** The domain that xenstored takes this for: 0, until `identify` has asked. */
  get domid(): number {
    return this.#domid;
  }

  /** Asks which domain this is. @throws RingwayError `BAD_REQUEST` when the answer is no domain. */
  async identify(): Promise<void> {
    const text = await this.read('domid');
    const domid = /^\d{1,5}$/.test(text) ? Number(text) : DOMID_RESERVED;
    if (domid < DOMID_RESERVED) this.#domid = domid;
    else throw new RingwayError('BAD_REQUEST', `xenstore: domid: ${JSON.stringify(text.slice(0, 40))} is no domain`);
  }

  #end(cause: Error): RingwayError {
    const error = new RingwayError('CLOSED', `xenstore at ${this.#link.path}: ${cause.message}`, { cause });
    this.#ended = error;
    this.#link.close();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#watches.clear();
    return error;
  }

  /** Ends the connection. Its watches and transactions end with it. */
  close(): void {
    if (this.#ended === undefined) this.#end(new Error('was closed'));
  }

  #take({ type, request, payload }: StoreMessage): void {
    // One after the end: what was read together with what ended it.
    if (this.#ended !== undefined) return;
    if (type === XS.watchEvent) {
      const [path = '', token = ''] = stringsIn(payload);
      const watch = this.#watches.get(token);
      watch?.onChange(path, watch.token);
      return;
    }
    const pending = this.#pending.get(request);
    if (pending === undefined)
      throw new RingwayError('BAD_REQUEST', `an answer to request ${request}, of which there is none`);
    if (type !== pending.type && type !== XS.error) {
      throw new RingwayError('BAD_REQUEST', `an answer of type ${type} to a request of type ${pending.type}`);
    }
    this.#pending.delete(request);
    if (type === XS.error) pending.reject(this.#refusal(pending.what, stringsIn(payload)[0] ?? ''));
    else pending.resolve(payload);
  }

  #refusal(what: string, name: string): Error {
    if (isStoreErrorName(name)) return new StoreError(name, what);
    return new RingwayError('SYSTEM', `xenstore: ${what}: ${name.slice(0, 40)}`);
  }

  /** The answer to a request about `what`. */
  #ask(type: number, transaction: number, payload: Uint8Array, what: string): Promise<Uint8Array> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (payload.length > this.#link.payloadMax) return Promise.reject(new StoreError('E2BIG', what.slice(0, 80)));
    this.#serial = (this.#serial + 1) >>> 0;
    const request = this.#serial;
    return new Promise((resolve, reject) => {
      this.#pending.set(request, { type, what, resolve, reject });
      const failed = this.#link.send(encodeStoreMessage({ type, request, transaction, payload }));
      if (failed !== undefined && this.#pending.delete(request)) reject(this.#refusal(what, failed));
    });
  }

  #operationsOf(transaction: number): StoreOperations {
    const ask = async (type: number, path: string, rest: Uint8Array = new Uint8Array()): Promise<Uint8Array> => {
      // A path with a zero in it would be two.
      absolutePath(path, this.#domid);
      return this.#ask(type, transaction, Buffer.concat([zeroEnded([path]), rest]), path);
    };
    return {
      read: async (path) => Buffer.from(await ask(XS.read, path)).toString(),
      directory: async (path) => stringsIn(await ask(XS.directory, path)).sort(),
      write: async (path, value) => void (await ask(XS.write, path, Buffer.from(value))),
      mkdir: async (path) => void (await ask(XS.mkdir, path)),
      remove: async (path) => void (await ask(XS.remove, path)),
      permissions: async (path): Promise<Permissions> =>
        stringsIn(await ask(XS.getPermissions, path)).map(parsePermission),
      setPermissions: async (path, permissions) => {
        const texts = permissions.map(({ access, domid }) => `${access}${domid}`);
        await ask(XS.setPermissions, path, zeroEnded(texts));
      },
    };
  }

  read(path: string): Promise<string> {
    return this.#operations.read(path);
  }

  directory(path: string): Promise<string[]> {
    return this.#operations.directory(path);
  }

  write(path: string, value: string): Promise<void> {
    return this.#operations.write(path, value);
  }

  mkdir(path: string): Promise<void> {
    return this.#operations.mkdir(path);
  }

  remove(path: string): Promise<void> {
    return this.#operations.remove(path);
  }

  permissions(path: string): Promise<Permissions> {
    return this.#operations.permissions(path);
  }

  setPermissions(path: string, permissions: Permissions): Promise<void> {
    return this.#operations.setPermissions(path, permissions);
  }

  async begin(): Promise<StoreTransaction> {
    const [text = ''] = stringsIn(await this.#ask(XS.transactionStart, 0, zeroEnded(['']), 'a transaction'));
    const transaction = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    if (transaction === 0 || transaction >= 2 ** 32) {
      throw new RingwayError('BAD_REQUEST', `xenstore: ${JSON.stringify(text.slice(0, 40))} is no transaction`);
    }
    const end = async (how: 'T' | 'F'): Promise<void> =>
      void (await this.#ask(XS.transactionEnd, transaction, zeroEnded([how]), 'a transaction'));
    return { ...this.#operationsOf(transaction), commit: () => end('T'), abort: () => end('F') };
  }

  async watch(path: string, token: string, onChange: Watch['onChange']): Promise<Unwatch> {
    if (!path.startsWith('@')) absolutePath(path, this.#domid);
    for (const watch of this.#watches.values()) {
      if (watch.path === path && watch.token === token) throw new StoreError('EEXIST', path);
    }
    this.#serial = (this.#serial + 1) >>> 0;
    const known = String(this.#serial);
    // Before it is asked for: the first event may come with the answer.
    this.#watches.set(known, { path, token, onChange });
    try {
      await this.#ask(XS.watch, 0, zeroEnded([path, known]), path);
    } catch (error) {
      this.#watches.delete(known);
      throw error;
    }
    return async () => {
      if (this.#watches.delete(known)) await this.#ask(XS.unwatch, 0, zeroEnded([path, known]), path);
    };
  }
}
