import { Netback } from '../xen/netback.ts';
import { BACK_CONTROL_BYTES, BACK_QUEUE_BYTES, backQueuePages } from '../xen/netback-queue.ts';
import { XenDevices, xenDevicesBytes } from '../xen/system/devices.ts';
import { VifFinder } from '../xen/system/vif-finder.ts';
import type { PortType } from './port.ts';
import type { XenNetbackConfig } from './xen-netback.ts';
import { shareXen, tellQueues, XenPort, type XenShare, xenFeatures, xenShareBytes } from './xen-port.ts';

/** Pages of others that a port maps at most. */
const mapPages = ({ queues, ringOrder }: XenNetbackConfig): number => 1 + queues * backQueuePages(ringOrder);

/** What the control thread keeps of a port. */
const opened = new WeakMap<object, XenDevices>();

/**
 * The backend of a network device of the Xen that this system is domain 0 of: that one whose `vifname` is the port's name, as it
 * comes and goes with its domain.
 */
export const xenSystemPort: PortType<XenNetbackConfig> = {
  bytes: (config) =>
    xenDevicesBytes(mapPages(config)) +
    config.queues * BACK_QUEUE_BYTES +
    BACK_CONTROL_BYTES +
    xenShareBytes(config.queues) +
    (16 << 10),

  create(setup, config) {
    const { arena, name } = setup;
    const { queues, paths, ringOrder, offloads } = config;
    const fail = (error: unknown): void => {
      const text = error instanceof Error ? error.message : String(error);
      void setup.tell('xenFault', text).catch(() => {});
    };
    const data = shareXen(setup, 'back', queues);
    let xen: XenDevices;
    try {
      xen = new XenDevices(arena, { name, mapPages: mapPages(config), onStoreEnd: fail });
    } catch (error) {
      arena.release(`${name} steer`);
      throw error;
    }
    opened.set(data, xen);
    const tell = tellQueues(setup, xen);
    let bus: Netback | undefined;
    const leave = async (): Promise<void> => {
      const gone = bus;
      bus = undefined;
      await gone?.leave();
    };
    const finder = new VifFinder(
      xen.store,
      config.name,
      async (found) => {
        await leave();
        if (found === undefined) return;
        bus = new Netback({
          ...found,
          backend: xen.domid,
          name,
          arena,
          hypervisor: xen,
          queues,
          paths,
          maxRingOrder: ringOrder,
          features: xenFeatures(offloads),
          hash: data.hash,
          onConnect: tell,
          onDisconnect: () => tell([]),
          onError: fail,
        });
        await bus.start();
      },
      fail,
    );
    let endEvents = (): void => {};
    return {
      data,
      rxQueues: queues,
      pausable: false,
      finite: false,
      untrusted: true,
      service: {
        start() {
          endEvents = xen.startEvents(setup.poller());
          // The tools write to the directory of the domain that this is.
          xen.store
            .identify()
            .then(() => finder.start())
            .catch(fail);
        },
        async stop() {
          // Without a xenstored there is nobody to tell, and the queues are given up all the same.
          await finder.stop().catch(() => {});
          await leave().catch(() => {});
          endEvents();
        },
      },
    };
  },

  attach: (context, data) => new XenPort(context, data as XenShare),

  release({ arena, name, async }, data) {
    async?.close();
    opened.get(data as XenShare)?.close();
    arena.release(`${name} steer`);
  },
};
