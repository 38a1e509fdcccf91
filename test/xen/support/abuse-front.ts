// What a backend does to its frontend: the advisories that Xen and Linux had for it, and the rules behind them.

import assert from 'node:assert/strict';
import { type Abuse, type AbuseCase, EXTRA, MORE, type RxSlot } from './abuse.ts';
import { frameOf, settle } from './vif-rig.ts';

const FRONT = '/local/domain/1/device/vif/0';
const BACK = '/local/domain/0/backend/vif/1/0';
/** Events of a storm, all before the other end gets a turn. */
const STORM = 100_000;

/** A frame of the backend's arrives: its queue goes on. */
function passes(abuse: Abuse, serial: number): void {
  const { rig } = abuse;
  rig.make([frameOf(serial, 60 + serial)]);
  assert.equal(abuse.back.send(rig.burst, 1), 1);
  assert.deepEqual(rig.receive(abuse.front), [frameOf(serial, 60 + serial)]);
}

/** Cases of one rule that the ring does not survive, each on a connection of its own. */
const latching = (
  name: string,
  rule: RegExp,
  cases: readonly (readonly [readonly RxSlot[], number?])[],
): AbuseCase => ({
  name,
  async run(abuse) {
    for (const [slots, announced] of cases) {
      await abuse.reconnect();
      abuse.putRx(slots, announced);
      abuse.latched('front', 'rx', rule);
    }
  },
});

/** The same with responses to what the frontend sends: ids and statuses. */
const latchingTx = (
  name: string,
  rule: RegExp,
  cases: readonly (readonly (readonly [id: number, status: number])[])[],
): AbuseCase => ({
  name,
  async run(abuse) {
    for (const answers of cases) {
      await abuse.reconnect();
      const { rig, front } = abuse;
      rig.make([frameOf(1, 60), frameOf(2, 60)]);
      assert.equal(front.send(rig.burst, 2), 2);
      abuse.putTxResponses(answers);
      abuse.latched('front', 'tx', rule);
    }
  },
});

const cases: readonly AbuseCase[] = [
  latching('a response index beyond what was asked for, or that goes back', /an index moved back/, [
    [[], 257],
    [[], 2 ** 31],
    [[], -1],
  ]),
  latchingTx('more responses than were sent', /an index moved back/, [
    [
      [0, 0],
      [1, 0],
      [2, 0],
    ],
  ]),
  latchingTx('responses with an id outside the ring', /an answer to what was not asked/, [[[256, 0]], [[65_535, -1]]]),
  latchingTx('responses with an id that is not out, or answered already', /an answer to what was not asked/, [
    [[200, 0]],
    [
      [0, 0],
      [0, 0],
    ],
  ]),
  latching('an id that was not asked under', /an answer to what was not asked/, [
    [[{ status: 60, id: 7 }]],
    [[{ status: 60, id: 65_535 }]],
  ]),
  latching('bytes beyond the page', /outside their page/, [
    [[{ status: 4000, offset: 97 }]],
    [[{ status: 32_767, offset: 65_535 }]],
    [
      [
        { status: 100, flags: MORE },
        { status: 4096, offset: 1 },
      ],
    ],
  ]),
  latching('more data than was produced', /not there/, [[[{ status: 100, flags: MORE }]]]),
  latching('20 slots and more', /too many slots/, [
    [Array.from({ length: 100 }, (_, i) => ({ status: 50, flags: i < 99 ? MORE : 0 }))],
  ]),
  latching('extra information of type 0, or above the last', /no known type/, [
    [[{ status: 100, flags: EXTRA }, { extra: [0, 0, 0, 0, 0, 0, 0, 0] }]],
    [[{ status: 100, flags: EXTRA }, { extra: [6, 0, 0, 0, 0, 0, 0, 0] }]],
    [[{ status: 100, flags: EXTRA }, { extra: [255, 0, 0, 0, 0, 0, 0, 0] }]],
  ]),
  latching('extra information that is missing', /not there/, [
    [[{ status: 100, flags: EXTRA }]],
    [[{ status: 100, flags: EXTRA }, { extra: [5, 1, 0, 0, 0, 0, 0, 0] }]],
  ]),
  latching('segments of 0 bytes, or of no protocol', /segments of 0/, [
    [[{ status: 1000, flags: EXTRA }, { extra: [1, 0, 0, 0, 1, 0, 0, 0] }]],
    [[{ status: 1000, flags: EXTRA }, { extra: [1, 0, 1, 0, 0, 0, 0, 0] }]],
  ]),
  {
    name: 'a negative status',
    run(abuse) {
      for (const [i, status] of [-1, -2, -32_768].entries()) {
        abuse.putRx([{ status }]);
        assert.deepEqual(abuse.rig.receive(abuse.front), []);
        assert.equal(abuse.front.drops().received.failed, i + 1);
      }
      abuse.putRx([{ status: 100, flags: MORE }, { status: -1, flags: MORE }, { status: 100 }]);
      assert.deepEqual(abuse.rig.receive(abuse.front), []);
      assert.equal(abuse.front.drops().received.failed, 4);
      assert.equal(abuse.front.fault(), undefined);
    },
  },
  {
    name: 'XSA-396: a grant that is still in use when it is to end',
    async run(abuse) {
      const { rig } = abuse;
      const { driver, guest, netfront, arena } = rig;
      // The first request of the rx ring: the backend's domain maps its page, and keeps it.
      const ref = abuse.word(abuse.sring('front', 'rx') + 64 + 4);
      const target = driver.hypervisor.takePages(1);
      const [mapped] = driver.hypervisor.map([{ domid: 1, ref }], target);
      assert.equal(mapped?.status, 0);
      const page = guest.memory + abuse.word(guest.grants.address + ref * 8 + 4) * 4096;
      await netfront.close();
      await settle();
      assert.deepEqual([netfront.bus.lost, guest.grants.inUse], [1, 1]);
      // What the guest does next never lies there.
      const own = guest.allocPages(250);
      arena.u8.fill(0x5a, own, own + 250 * 4096);
      arena.u8.fill(0xff, mapped?.address ?? 0, (mapped?.address ?? 0) + 4096);
      assert.deepEqual(arena.u8.slice(page, page + 4096), new Uint8Array(4096).fill(0xff));
      assert.ok(arena.u8.subarray(own, own + 250 * 4096).every((byte) => byte === 0x5a));
      guest.freePages(own);
      driver.hypervisor.unmap([mapped?.handle ?? 0]);
      driver.hypervisor.freePages(target);
      // Now it comes back.
      await netfront.start();
      await settle();
      abuse.connected();
      assert.equal(netfront.bus.lost, 0);
      passes(abuse, 1);
    },
  },
  {
    name: 'XSA-403: what lies beside the data on a shared page',
    options: { path: { kind: 'staging', tx: 256, rx: 256 } },
    before({ arena, guest }) {
      // What was in the guest's memory before is nobody else's business.
      arena.u8.fill(0xa5, guest.memory, guest.memory + guest.pages * 4096);
    },
    run(abuse) {
      const { arena, guest, burst, make } = abuse.rig;
      make([new Uint8Array(60), new Uint8Array(5000)]);
      assert.equal(abuse.front.send(burst, 2), 2);
      const { u16, u8 } = arena;
      let shared = 0;
      for (let ref = 8; ref < guest.grants.count; ref++) {
        const entry = guest.grants.address + ref * 8;
        if (u16[entry >>> 1] === 0) continue;
        shared++;
        const page = guest.memory + abuse.word(entry + 4) * 4096;
        const stale = u8
          .subarray(page, page + 4096)
          .findIndex((_, i, bytes) => bytes[i] === 0xa5 && bytes[i + 1] === 0xa5);
        assert.equal(stale, -1, `page of reference ${ref}`);
      }
      assert.ok(shared > 512);
      abuse.rig.receive(abuse.back);
    },
  },
  {
    name: 'XSA-391: a storm of events',
    options: { path: { kind: 'control' } },
    async run(abuse) {
      const { driver, guest, netback } = abuse.rig;
      await settle();
      const [share] = netback.bus.queues;
      const before = guest.costs().hypercalls;
      // The control ring's port is the last that was bound.
      for (let i = 0; i < STORM; i++) {
        for (const to of [share?.txPort ?? 0, share?.rxPort ?? 0, (share?.rxPort ?? 0) + 1]) driver.hypervisor.send(to);
      }
      await settle();
      assert.ok(guest.costs().hypercalls - before < 100);
      passes(abuse, 5);
    },
  },
  {
    name: 'XSA-465: a backend that goes on when the frontend has ended',
    async run(abuse) {
      const { rig, back } = abuse;
      const { netfront, guest, driver } = rig;
      const [share] = netfront.bus.queues;
      rig.make([frameOf(1, 60), frameOf(2, 3000)]);
      abuse.front.send(rig.burst, 2);
      // At once, whatever the backend does: it has the rings mapped still.
      await netfront.bus.destroy();
      assert.ok(share !== undefined);
      assert.equal(netfront.bus.lost, 2);
      const own = guest.allocPages(200);
      const before = rig.arena.u8.slice(own, own + 200 * 4096);
      for (let i = 0; i < 20; i++) {
        assert.deepEqual(rig.receive(back), []);
        rig.make([frameOf(i, 3000)]);
        rig.free(back.send(rig.burst, 1), 0);
      }
      assert.ok(back.drops().received.failed + back.drops().sent.failed > 2);
      assert.deepEqual(rig.arena.u8.slice(own, own + 200 * 4096), before);
      guest.freePages(own);
      for (const port of [back.tx, back.rx].keys()) driver.hypervisor.send(port + 1);
      await settle();
      await netfront.start();
      await settle();
      abuse.connected();
      assert.equal(netfront.bus.lost, 0);
      passes(abuse, 2);
    },
  },
  {
    name: 'XSA-465: states of a backend in any order, and a directory that goes',
    async run(abuse) {
      const { netfront, netback, driver, guest } = abuse.rig;
      const { store } = driver.hypervisor;
      for (const state of ['5', '6', '2', '4', '1', '8', '7', '3', '9', '-1', 'x', '', '0', '4', '2', '5', '4', '6']) {
        await store.write(`${BACK}/state`, state);
        await settle();
        assert.ok(netfront.state >= 1 && netfront.state <= 6);
      }
      await store.remove(BACK);
      await settle();
      assert.deepEqual([netfront.queues, guest.grants.inUse - netfront.bus.lost], [[], 0]);
      // The tools make it anew.
      await netback.close();
      for (const [key, value] of Object.entries({ frontend: FRONT, 'frontend-id': '1', online: '1', state: '1' })) {
        await store.write(`${BACK}/${key}`, value);
      }
      await store.setPermissions(BACK, [
        { domid: 0, access: 'n' },
        { domid: 1, access: 'r' },
      ]);
      for (const key of await store.directory(BACK)) {
        await store.setPermissions(`${BACK}/${key}`, [
          { domid: 0, access: 'n' },
          { domid: 1, access: 'r' },
        ]);
      }
      await netback.start();
      await netfront.start();
      await settle();
      abuse.connected();
      passes(abuse, 3);
    },
  },
];

export const FRONT_CASES = cases.map((each) => ({ ...each, name: `a frontend survives: ${each.name}` }));
