import { VIRTIO_F } from '../../virtio/features.ts';
import { INFLIGHT, LOG, MEM_TABLE, PROTOCOL_F, REQUEST, SINGLE_REGION, U64, VHOST_F_LOG_ALL } from '../protocol.ts';
import type { Bench } from './bench.ts';
import { type Check, CheckFailed, same } from './check.ts';

const BURST = 16;
/** A page of the dirty log has a bit. */
const LOG_PAGE = 4096n;
const MODERN = [VIRTIO_F.VERSION_1];
const PAGE = 65536n;

/** Somewhere that no other region is. */
const elsewhere = (n: bigint) => ({ guest: 0x10_0000_0000n + n * PAGE, user: 0x10_0000_0000n + n * PAGE, bytes: PAGE });

/** Asks for an inflight file for the rings of `bench`, and checks it. */
async function inflightOf(bench: Bench, session: Awaited<ReturnType<Bench['open']>>) {
  const [{ size }, queues] = [session.ring, session.rings.length];
  const asked = INFLIGHT.write({ bytes: 0n, offset: 0n, queues, queueSize: size });
  const reply = await session.frontend.ask(REQUEST.GET_INFLIGHT_FD, asked);
  if (reply.payload.length !== INFLIGHT.bytes && reply.payload.length !== INFLIGHT.paddedBytes) {
    throw new CheckFailed('a reply of 20 or 24 bytes', `${reply.payload.length}`);
  }
  const area = INFLIGHT.read(reply.payload);
  const [fd] = reply.fds;
  if (fd === undefined) throw new CheckFailed('a descriptor with the reply', 'none');
  same('queues', area.queues, queues);
  same('queue size', area.queueSize, size);
  // An entry of 16 or 32 bytes for each descriptor.
  const least = BigInt(queues * size * (session.layout === 'packed' ? 32 : 16));
  if (area.bytes < least) throw new CheckFailed(`at least ${least} bytes`, String(area.bytes));
  const total = Number(area.offset + area.bytes);
  const address = bench.map('inflight', fd, Math.ceil(total / 4096) * 4096) + Number(area.offset);
  return { area, fd, address };
}

/** Memory that is shared, by name and by region, and what backends keep in files. */
export const MEMORY_CHECKS: readonly Check[] = [
  {
    name: 'memory-again',
    section: 'Ring states: configuration on the fly; SET_MEM_TABLE',
    needs: { features: MODERN },
    async run(bench) {
      const session = await bench.run();
      for (let i = 0; i < 3; i++) {
        await session.ring.burst(BURST);
        await session.shareMemory();
      }
      await session.ring.burst(BURST);
    },
  },
  {
    name: 'memory-offset',
    section: 'Memory regions description: mmap offset',
    needs: { features: MODERN },
    async run(bench) {
      // Two regions of one file, as a machine with a hole has them.
      const session = await bench.open({ withoutMemory: true });
      const { region, fd } = session.memory;
      const first = (region.bytes / 2n / PAGE) * PAGE;
      const moved = (by: bigint) => ({ guest: region.guest + by, user: region.user + by, offset: region.offset + by });
      const parts = [
        { ...region, bytes: first },
        { ...moved(first), bytes: region.bytes - first },
      ];
      await session.frontend.tell(REQUEST.SET_MEM_TABLE, MEM_TABLE.write(parts), [fd, fd]);
      await session.startAll();
      await session.ring.burst(BURST);
    },
  },
  {
    name: 'memory-slots',
    section: 'Front-end message types: GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG',
    needs: { features: MODERN, protocol: [PROTOCOL_F.CONFIGURE_MEM_SLOTS] },
    async run(bench) {
      const session = await bench.open({ withoutMemory: true });
      const { frontend, memory } = session;
      const slots = await frontend.askNumber(REQUEST.GET_MAX_MEM_SLOTS);
      if (slots < 1n) throw new CheckFailed('1 slot or more', String(slots));
      await frontend.tell(REQUEST.ADD_MEM_REG, SINGLE_REGION.write(memory.region), [memory.fd]);
      await session.startAll();
      await session.ring.burst(BURST);
      if (slots < 2n) return;
      const region = { ...elsewhere(0n), offset: 0n };
      await frontend.tell(REQUEST.ADD_MEM_REG, SINGLE_REGION.write(region), [bench.file(Number(PAGE))]);
      await session.ring.burst(BURST);
      await frontend.tell(REQUEST.REM_MEM_REG, SINGLE_REGION.write(region));
      await session.ring.burst(BURST);
    },
  },
  {
    name: 'memory-slots-unknown',
    section: 'Front-end message types: REM_MEM_REG',
    needs: { features: MODERN, protocol: [PROTOCOL_F.CONFIGURE_MEM_SLOTS] },
    hostile: true,
    async run(bench) {
      const { frontend } = await bench.open();
      const outcome = await frontend.attempt(
        REQUEST.REM_MEM_REG,
        SINGLE_REGION.write({ ...elsewhere(0n), offset: 0n }),
      );
      if (outcome !== 'refused' && outcome !== 'closed')
        throw new CheckFailed('a region that there is not to be refused', outcome);
    },
  },
  ...(['split', 'packed'] as const).flatMap((layout): Check[] => {
    const features = [...MODERN, ...(layout === 'packed' ? [VIRTIO_F.RING_PACKED] : [])];
    const needs = { features, protocol: [PROTOCOL_F.INFLIGHT_SHMFD] };
    return [
      {
        name: `${layout}-inflight`,
        section: 'Inflight I/O tracking; GET_INFLIGHT_FD, SET_INFLIGHT_FD',
        needs,
        async run(bench) {
          const session = await bench.open({ layout });
          const { area, fd, address } = await inflightOf(bench, session);
          await session.frontend.tell(REQUEST.SET_INFLIGHT_FD, INFLIGHT.write(area), [fd]);
          await session.startAll();
          for (let i = 0; i < 7; i++) await session.ring.burst(BURST);
          // QueueRegionSplit and QueueRegionPacked begin alike: features, version, desc_num.
          const view = new DataView(bench.bytes.buffer, address);
          same('version of the first region', view.getUint16(8, true), 1);
          same('desc_num of the first region', view.getUint16(10, true), session.ring.size);
        },
      },
      {
        name: `${layout}-inflight-reconnect`,
        section: 'Inflight I/O tracking: When reconnecting',
        needs,
        async run(bench) {
          const before = await bench.open({ layout });
          const { area, fd } = await inflightOf(bench, before);
          await before.frontend.tell(REQUEST.SET_INFLIGHT_FD, INFLIGHT.write(area), [fd]);
          await before.startAll();
          for (let i = 0; i < 7; i++) await before.ring.burst(BURST);
          const { receive, ring } = before;
          const old = ring.driver.queue.base();
          if (receive !== ring) receive.offer(BURST);
          receive.notify();
          await ring.burst(1);
          before.frontend.close();
          const session = await bench.open({ layout, size: ring.size }, before.rings);
          await session.frontend.tell(REQUEST.SET_INFLIGHT_FD, INFLIGHT.write(area), [fd]);
          // Packed, whoever lost its backend has a base from before, and what is in flight says better.
          await session.startAll({ base: layout === 'packed' ? old : ring.driver.queue.base() });
          await ring.burst(BURST);
        },
      },
    ];
  }),
  {
    name: 'dirty-log',
    section: 'Migration; SET_LOG_BASE',
    needs: { features: [...MODERN, VHOST_F_LOG_ALL], protocol: [PROTOCOL_F.LOG_SHMFD] },
    async run(bench) {
      const session = await bench.run();
      const { frontend, ring, memory } = session;
      const end = memory.region.guest + memory.region.bytes;
      const bytes = Number((end / LOG_PAGE / 8n + PAGE) / PAGE) * Number(PAGE);
      const fd = bench.file(bytes);
      const log = bench.map('log', fd, bytes);
      const marked = (page: bigint): boolean => {
        const byte = bench.bytes[log + Number(page / 8n)] ?? 0;
        return ((byte >> Number(page % 8n)) & 1) === 1;
      };
      const used = memory.guest(ring.driver.rings.deviceArea) / LOG_PAGE;
      await ring.burst(BURST);
      await frontend.ask(REQUEST.SET_LOG_BASE, LOG.write({ bytes: BigInt(bytes), offset: 0n }), { fds: [fd] });
      if (marked(used)) throw new CheckFailed('nothing to be marked before LOG_ALL', 'the used ring');
      await frontend.tell(REQUEST.SET_FEATURES, U64.write(frontend.features | (1n << BigInt(VHOST_F_LOG_ALL))));
      for (const each of session.rings) await frontend.tell(REQUEST.SET_VRING_ADDR, session.addresses(each, true));
      await ring.burst(BURST);
      await ring.burst(BURST);
      if (!marked(used)) throw new CheckFailed(`page 0x${used.toString(16)}, the used ring, to be marked`, 'no mark');
      const first = memory.region.guest / LOG_PAGE;
      const last = end / LOG_PAGE;
      const others = Array.from({ length: Number(last - first) }, (_, i) => first + BigInt(i)).filter(marked);
      // A probe's bytes are read, not written.
      if (bench.type === 'net' && others.length > 2) {
        throw new CheckFailed('the pages of the used ring alone to be marked', `${others.length} pages`);
      }
      await frontend.tell(REQUEST.SET_FEATURES, U64.write(frontend.features));
      await ring.burst(BURST);
    },
  },
];
