import type { DomainOptions } from '../xen/domain.ts';
import { domainBytes } from '../xen/domain.ts';
import type { VifOptions } from '../xen/vif-device.ts';
import type { Domain } from '../xen/xen.ts';
import type { PortSetup, PortType } from './port.ts';
import { XEN_HOST_BYTES, type XenEnd, XenHost } from './xen-host.ts';
import { shareXen, tellQueues, XenPort, type XenShare, xenShareBytes } from './xen-port.ts';

/** An end of a device: `Netback` or `Netfront`. */
export interface XenBus {
  start(): Promise<void>;
  /** Ends it whatever the other end does. */
  destroy(): Promise<void>;
}

/** What makes a kind of port of an end of a Xen device. */
export interface XenEndKind<Config> {
  readonly side: XenShare['side'];
  domain(config: Config): DomainOptions;
  /** Bytes of the arena of all its queues' state. */
  queueBytes(config: Config): number;
  /** Name of the port that is the backend. */
  backend(config: Config): string;
  /** @param hash how packets are to be spread over queues: VIFHASH_… */
  make(config: Config, domain: Domain, options: VifOptions, hash: number, seed: number): XenBus;
}

/** What the control thread keeps of a port. */
const domains = new WeakMap<object, { readonly host: XenHost; readonly domain: Domain }>();

/** An end that is made anew for each other end that comes. */
function makeEnd<Config extends { readonly queues: number }>(
  kind: XenEndKind<Config>,
  setup: PortSetup,
  config: Config,
  domain: Domain,
  hash: number,
): XenEnd & { fail(error: unknown): void } {
  const { arena, name, seed } = setup;
  const { hypervisor } = domain;
  const tell = tellQueues(setup, hypervisor);
  let bus: XenBus | undefined;
  const fail = (error: unknown): void => {
    const text = error instanceof Error ? error.message : String(error);
    void setup.tell('xenFault', text).catch(() => {});
  };
  return {
    side: kind.side,
    domain,
    fail,
    async connect(device) {
      const options = {
        ...device,
        name,
        arena,
        hypervisor,
        queues: config.queues,
        onConnect: tell,
        onDisconnect: () => tell([]),
        onError: fail,
      };
      bus = kind.make(config, domain, options, hash, seed);
      await bus.start();
    },
    async disconnect() {
      await bus?.destroy();
      bus = undefined;
    },
  };
}

/** The kind of port that is such an end. */
export function xenEndType<Config extends { readonly queues: number }>(kind: XenEndKind<Config>): PortType<Config> {
  return {
    bytes: (config) =>
      XEN_HOST_BYTES +
      domainBytes(kind.domain(config)) +
      kind.queueBytes(config) +
      xenShareBytes(config.queues) +
      (16 << 10),

    create(setup, config) {
      const host = XenHost.of(setup.arena);
      const domain = host.createDomain(kind.domain(config));
      const data = shareXen(setup, kind.side, config.queues);
      domains.set(data, { host, domain });
      const end = makeEnd(kind, setup, config, domain, data.hash);
      let endEvents = (): void => {};
      return {
        data,
        rxQueues: config.queues,
        pausable: false,
        finite: false,
        untrusted: true,
        paired: true,
        everyQueueSends: kind.side === 'front',
        service: {
          start() {
            endEvents = domain.startEvents();
            host.join(kind.backend(config), end).catch(end.fail);
          },
          async stop() {
            await host.leave(kind.backend(config), end);
            endEvents();
          },
        },
      };
    },

    attach: (context, data) => new XenPort(context, data as XenShare),

    release({ arena, name, async }, data) {
      async?.close();
      const made = domains.get(data as XenShare);
      made?.host.destroyDomain(made.domain);
      arena.release(`${name} steer`);
    },
  };
}
