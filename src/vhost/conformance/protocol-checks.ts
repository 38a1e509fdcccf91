import { hasFeature } from '../../virtio/features.ts';
import { FLAG_NEED_REPLY, PROTOCOL_F, protocolFeatureNames, REQUEST, U64, VERSION, VRING_STATE } from '../protocol.ts';
import { type Check, CheckFailed, CheckSkipped, QUIET_MS, same } from './check.ts';
import { wire } from './frontend.ts';

/** Lowest first. */
function firstUnset(mask: bigint, candidates: readonly number[]): number {
  const bit = candidates.find((each) => !hasFeature(mask, each));
  if (bit === undefined) throw new CheckSkipped('a bit that is not offered');
  return bit;
}

/** Bits that nobody has given a meaning yet. */
const UNKNOWN_FEATURES = [49, 48, 47, 46];
const UNKNOWN_PROTOCOL = [40, 41, 42];
const ringSize = (index: number, size: number): Uint8Array => VRING_STATE.write(index, size);

/** What is agreed on before any ring runs. */
export const PROTOCOL_CHECKS: readonly Check[] = [
  {
    name: 'features-same',
    section: 'Front-end message types: GET_FEATURES',
    async run(bench) {
      const first = await bench.connect();
      await first.greet();
      await first.accept();
      same('the features of the first connection', await first.askNumber(REQUEST.GET_FEATURES), first.offered);
      first.close();
      const second = await bench.connect();
      await second.greet();
      same('the features of the first connection', second.offered, first.offered);
      same('the protocol features of the first connection', second.offeredProtocol, first.offeredProtocol);
    },
  },
  {
    name: 'features-foreign',
    section: 'Communication; virtio 2.2.2',
    hostile: true,
    async run(bench) {
      const frontend = await bench.connect();
      await frontend.greet();
      const bit = firstUnset(frontend.offered, UNKNOWN_FEATURES);
      const outcome = await frontend.attempt(REQUEST.SET_FEATURES, U64.write(frontend.offered | (1n << BigInt(bit))));
      if (outcome === 'silent')
        throw new CheckFailed(`feature bit ${bit} to be refused or ignored`, 'no answer to anything');
    },
  },
  {
    name: 'protocol-features',
    section: 'Front-end message types: GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES',
    async run(bench) {
      const frontend = await bench.connect();
      // Before SET_FEATURES, and without it.
      await frontend.greet([]);
      if (frontend.offeredProtocol === 0n) throw new CheckSkipped('PROTOCOL_FEATURES');
      same(
        'the same protocol features again',
        await frontend.askNumber(REQUEST.GET_PROTOCOL_FEATURES),
        frontend.offeredProtocol,
      );
      await frontend.tell(REQUEST.SET_PROTOCOL_FEATURES, U64.write(0n));
    },
  },
  {
    name: 'protocol-features-foreign',
    section: 'Front-end message types: SET_PROTOCOL_FEATURES',
    hostile: true,
    async run(bench) {
      const frontend = await bench.connect();
      await frontend.greet();
      const bit = firstUnset(frontend.offeredProtocol, UNKNOWN_PROTOCOL);
      const mask = frontend.protocol | (1n << BigInt(bit));
      const outcome = await frontend.attempt(REQUEST.SET_PROTOCOL_FEATURES, U64.write(mask));
      if (outcome === 'silent') {
        throw new CheckFailed(
          `${protocolFeatureNames(1n << BigInt(bit))} to be refused or ignored`,
          'no answer to anything',
        );
      }
    },
  },
  {
    name: 'queue-num',
    section: 'Multiple queue support; GET_QUEUE_NUM',
    needs: { protocol: [PROTOCOL_F.MQ] },
    async run(bench) {
      const frontend = await bench.connect();
      await frontend.greet();
      const queues = await frontend.askNumber(REQUEST.GET_QUEUE_NUM);
      if (queues < 1n || queues > 0x8000n) throw new CheckFailed('1 to 32768 queues', String(queues));
    },
  },
  {
    name: 'reply-ack-success',
    section: 'VHOST_USER_PROTOCOL_F_REPLY_ACK',
    needs: { protocol: [PROTOCOL_F.REPLY_ACK] },
    async run(bench) {
      const frontend = await bench.connect();
      await frontend.greet();
      await frontend.accept();
      const payload = ringSize(0, 64);
      frontend.write(wire(REQUEST.SET_VRING_NUM, VERSION | FLAG_NEED_REPLY, payload.length, payload));
      const reply = await frontend.receive();
      if (reply === undefined || reply === 'closed') throw new CheckFailed('a reply', reply ?? 'none');
      same('request', reply.request, REQUEST.SET_VRING_NUM);
      same('flags', reply.flags, 5);
      same('bytes of payload', reply.payload.length, 8);
      same('payload', U64.read(reply.payload), 0n);
    },
  },
  {
    name: 'reply-ack-failure',
    section: 'VHOST_USER_PROTOCOL_F_REPLY_ACK',
    needs: { protocol: [PROTOCOL_F.REPLY_ACK] },
    hostile: true,
    async run(bench) {
      const frontend = await bench.connect();
      await frontend.greet();
      await frontend.accept();
      const outcome = await frontend.attempt(REQUEST.SET_VRING_NUM, ringSize(0, 1 << 20));
      if (outcome !== 'refused' && outcome !== 'closed') throw new CheckFailed('a failure', outcome);
    },
  },
  {
    name: 'reply-unasked',
    section: 'VHOST_USER_PROTOCOL_F_REPLY_ACK',
    async run(bench) {
      const frontend = await bench.connect();
      await frontend.greet();
      await frontend.accept();
      frontend.send(REQUEST.SET_VRING_NUM, ringSize(0, 64));
      const reply = await frontend.receive(QUIET_MS);
      if (reply !== undefined)
        throw new CheckFailed('no reply, since none was asked for', reply === 'closed' ? reply : 'one');
      await frontend.askNumber(REQUEST.GET_FEATURES);
    },
  },
  {
    name: 'reply-without-feature',
    section: 'VHOST_USER_PROTOCOL_F_REPLY_ACK',
    async run(bench) {
      const frontend = await bench.connect();
      await frontend.greet([]);
      await frontend.accept();
      const payload = ringSize(0, 64);
      frontend.write(wire(REQUEST.SET_VRING_NUM, VERSION | FLAG_NEED_REPLY, payload.length, payload));
      const reply = await frontend.receive(QUIET_MS);
      if (reply !== undefined)
        throw new CheckFailed('no reply, since REPLY_ACK was not agreed on', reply === 'closed' ? reply : 'one');
    },
  },
  {
    name: 'message-in-pieces',
    section: 'Message Specification',
    async run(bench) {
      const frontend = await bench.connect();
      await frontend.greet();
      await frontend.accept();
      // All of the header, then the payload: a stream keeps no bounds.
      const payload = ringSize(0, 64);
      frontend.write(wire(REQUEST.SET_VRING_NUM, VERSION, payload.length));
      await new Promise((resolve) => setTimeout(resolve, 5));
      frontend.write(payload);
      await frontend.askNumber(REQUEST.GET_FEATURES);
    },
  },
];
