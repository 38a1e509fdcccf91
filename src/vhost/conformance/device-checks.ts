import { requireSys } from '../../sys/index.ts';
import { requireSockets } from '../../sys/sockets.ts';
import { VIRTIO_F } from '../../virtio/features.ts';
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN } from '../../virtio/layout.ts';
import { CONFIG, PROTOCOL_F, REQUEST, U64 } from '../protocol.ts';
import type { Bench } from './bench.ts';
import { type Check, CheckFailed, same } from './check.ts';
import type { Frontend } from './frontend.ts';

const BURST = 16;
const MODERN = [VIRTIO_F.VERSION_1];
const CONFIG_NEEDS = { protocol: [PROTOCOL_F.CONFIG] };
const SECTOR = 512;
/** ACKNOWLEDGE, DRIVER, FEATURES_OK; and DRIVER_OK. */
const READY = [0xbn, 0xfn];
/** virtio 2.1: 6 bytes of a MAC at 0, or a capacity of 8 bytes. */
const CONFIG_FIRST_BYTES = { net: 6, block: 8 };

async function greeted(bench: Bench): Promise<Frontend> {
  const frontend = await bench.connect();
  await frontend.greet();
  await frontend.accept();
  return frontend;
}

/** Bytes of the configuration; undefined when the backend says that there are no such bytes, or refuses. */
async function readConfig(frontend: Frontend, offset: number, bytes: number): Promise<Uint8Array | undefined> {
  const reply = await frontend.ask(REQUEST.GET_CONFIG, CONFIG.write(offset, 0, new Uint8Array(bytes)));
  if (reply.payload.length <= U64.bytes) return undefined;
  const found = CONFIG.read(reply.payload);
  if (found === undefined) throw new CheckFailed('a configuration in the reply', `${reply.payload.length} bytes`);
  return found.data.length === 0 ? undefined : found.data;
}

/** Reads `bytes` bytes from `sector` on. Returns the status, and what was written before it. */
async function blockRequest(bench: Bench, requests: readonly { type: number; sector: bigint; bytes: number }[]) {
  const { ring } = await bench.run();
  const answers: { status: number; data: Uint8Array; bytes: number }[] = [];
  for (const { type, sector, bytes } of requests) {
    const header = new Uint8Array(16);
    const view = new DataView(header.buffer);
    view.setUint32(0, type, true);
    view.setBigUint64(8, sector, true);
    ring.driver.send([header], [bytes, 1]);
    ring.notify();
    const [used] = await ring.served(1, 'request to be answered');
    const data = used?.bytes ?? new Uint8Array(0);
    answers.push({ status: data[bytes] ?? -1, data: data.subarray(0, bytes), bytes: data.length });
  }
  return answers;
}

/** What a device says of itself, and what changes its state. */
export const DEVICE_CHECKS: readonly Check[] = [
  {
    name: 'config',
    section: 'Front-end message types: GET_CONFIG',
    needs: CONFIG_NEEDS,
    async run(bench) {
      const frontend = await greeted(bench);
      const bytes = CONFIG_FIRST_BYTES[bench.type];
      const data = await readConfig(frontend, 0, bytes);
      same('bytes of the configuration', data?.length, bytes);
    },
  },
  {
    name: 'config-bounds',
    section: 'Front-end message types: GET_CONFIG',
    needs: CONFIG_NEEDS,
    hostile: true,
    async run(bench) {
      for (const offset of [250, 0xffff_fff0]) {
        const frontend = await greeted(bench);
        const outcome = await frontend.attempt(REQUEST.GET_CONFIG, CONFIG.write(offset, 0, new Uint8Array(64)));
        if (outcome === 'silent') throw new CheckFailed('an answer, or none and a closed connection', outcome);
        // A failure, or no bytes; never those behind the end.
        const data = outcome === 'accepted' ? await readConfig(frontend, offset, 64) : undefined;
        frontend.close();
        if (data?.some((byte) => byte !== 0)) throw new CheckFailed('no bytes behind the end', `${data.length} bytes`);
      }
    },
  },
  {
    name: 'config-read-only',
    section: 'Front-end message types: SET_CONFIG',
    needs: CONFIG_NEEDS,
    hostile: true,
    async run(bench) {
      const frontend = await greeted(bench);
      const before = await readConfig(frontend, 0, CONFIG_FIRST_BYTES[bench.type]);
      if (before === undefined) throw new CheckFailed('a configuration', 'none');
      const outcome = await frontend.attempt(
        REQUEST.SET_CONFIG,
        CONFIG.write(
          0,
          0,
          before.map((byte) => byte ^ 0x50),
        ),
      );
      if (outcome === 'silent') throw new CheckFailed('the write to be refused', outcome);
      frontend.close();
      const again = await greeted(bench);
      const after = await readConfig(again, 0, before.length);
      same(
        'the configuration unchanged',
        Buffer.from(after ?? []).toString('hex'),
        Buffer.from(before).toString('hex'),
      );
    },
  },
  {
    name: 'status',
    section: 'Front-end message types: SET_STATUS, GET_STATUS',
    needs: { protocol: [PROTOCOL_F.STATUS], features: MODERN },
    async run(bench) {
      const session = await bench.open();
      for (const status of READY) {
        await session.frontend.tell(REQUEST.SET_STATUS, U64.write(status));
        same('status', await session.frontend.askNumber(REQUEST.GET_STATUS), status);
      }
      await session.startAll();
      await session.ring.burst(BURST);
    },
  },
  {
    name: 'reset-device',
    section: 'Front-end message types: RESET_DEVICE',
    needs: { protocol: [PROTOCOL_F.RESET_DEVICE], features: MODERN },
    async run(bench) {
      const session = await bench.run();
      await session.ring.burst(BURST);
      await session.frontend.tell(REQUEST.RESET_DEVICE);
      session.ring.submit(BURST);
      session.ring.notify();
      if (bench.type === 'block') await session.ring.untouched('the device was reset');
      const drained = session.ring.reap().length;
      // Ready to be initialised once more.
      const base = await session.stop(session.ring);
      if (drained > 0 && base === 0) throw new CheckFailed('the base behind what was drained', '0x0');
      session.frontend.close();
      const next = await bench.run();
      await next.ring.burst(BURST);
    },
  },
  {
    name: 'reset-owner',
    section: 'Front-end message types: RESET_OWNER, which does not discard the state of the connection',
    needs: { features: MODERN },
    type: 'net',
    async run(bench) {
      const session = await bench.run();
      await session.ring.burst(BURST);
      await session.frontend.tell(REQUEST.RESET_OWNER);
      for (const ring of session.rings) await session.enable(ring, true);
      await session.ring.burst(BURST);
    },
  },
  {
    name: 'backend-channel',
    section: 'Back-end communication; SET_BACKEND_REQ_FD',
    needs: { protocol: [PROTOCOL_F.BACKEND_REQ], features: MODERN },
    async run(bench) {
      const { closeFd } = requireSys('a conformance check');
      const session = await bench.open();
      // The second one replaces the first.
      for (let i = 0; i < 2; i++) {
        const [ours, theirs] = requireSockets('a conformance check').pair();
        bench.own({ close: () => closeFd(ours) });
        try {
          await session.frontend.tell(REQUEST.SET_BACKEND_REQ_FD, undefined, [theirs]);
        } finally {
          closeFd(theirs);
        }
      }
      await session.startAll();
      await session.ring.burst(BURST);
    },
  },
  {
    name: 'mtu',
    section: 'Front-end message types: NET_SET_MTU',
    type: 'net',
    needs: { protocol: [PROTOCOL_F.MTU] },
    hostile: true,
    async run(bench) {
      const frontend = await greeted(bench);
      await frontend.tell(REQUEST.NET_SET_MTU, U64.write(1500n));
      frontend.close();
      for (const mtu of [67n, 65536n, 1n << 40n]) {
        const bad = await greeted(bench);
        const outcome = await bad.attempt(REQUEST.NET_SET_MTU, U64.write(mtu));
        bad.close();
        if (outcome !== 'refused' && outcome !== 'closed') throw new CheckFailed(`mtu ${mtu} to be refused`, outcome);
      }
    },
  },
  {
    name: 'rarp',
    section: 'Front-end message types: SEND_RARP',
    type: 'net',
    needs: { protocol: [PROTOCOL_F.RARP], features: MODERN },
    async run(bench) {
      const session = await bench.run();
      await session.frontend.tell(REQUEST.SEND_RARP, Uint8Array.of(2, 0, 0, 0, 0, 9, 0, 0));
      await session.ring.burst(BURST);
    },
  },
  {
    name: 'second-client',
    section: 'Communication',
    needs: { features: MODERN },
    async run(bench) {
      const session = await bench.run();
      await session.ring.burst(BURST);
      // Whether it is served or sent away: the first one does not notice.
      const second = await bench.connect();
      second.send(REQUEST.GET_FEATURES);
      await second.receive(100);
      await session.ring.burst(BURST);
      second.close();
      await session.ring.burst(BURST);
      await session.frontend.askNumber(REQUEST.GET_FEATURES);
    },
  },
  {
    name: 'block-read',
    section: 'virtio 5.2.6',
    type: 'block',
    needs: { features: MODERN },
    async run(bench) {
      const [answer] = await blockRequest(bench, [{ type: VIRTIO_BLK_T_IN, sector: 0n, bytes: SECTOR }]);
      same('status', answer?.status, VIRTIO_BLK_S_OK);
      same('bytes written', answer?.bytes, SECTOR + 1);
    },
  },
  {
    name: 'block-id',
    section: 'virtio 5.2.6',
    type: 'block',
    needs: { features: MODERN },
    async run(bench) {
      const [answer] = await blockRequest(bench, [{ type: VIRTIO_BLK_T_GET_ID, sector: 0n, bytes: 20 }]);
      same('status', answer?.status, VIRTIO_BLK_S_OK);
    },
  },
  {
    name: 'block-range',
    section: 'virtio 5.2.6.2: no request beyond the capacity',
    type: 'block',
    needs: { features: MODERN, ...CONFIG_NEEDS },
    async run(bench) {
      const frontend = await greeted(bench);
      const data = await readConfig(frontend, 0, 8);
      frontend.close();
      if (data === undefined) throw new CheckFailed('a capacity', 'none');
      const sectors = U64.read(data);
      if (sectors === 0n) throw new CheckFailed('a capacity of one sector or more', '0');
      const read = (sector: bigint, bytes = SECTOR) => ({ type: VIRTIO_BLK_T_IN, sector, bytes });
      // The last one, one behind it, across the end, and a place whose end wraps.
      const places = [read(sectors - 1n), read(sectors), read(sectors - 1n, 2 * SECTOR), read((1n << 64n) - 1n)];
      const answers = await blockRequest(bench, places);
      same('status of the last sector', answers[0]?.status, VIRTIO_BLK_S_OK);
      for (const { status } of answers.slice(1)) same('status behind the end', status, VIRTIO_BLK_S_IOERR);
    },
  },
];
