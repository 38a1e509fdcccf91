import fc from 'fast-check';
import { type Domain, GNTST, type GrantCopy } from 'ringway/xen';
import { expect, test } from 'vitest';
import { BASES } from '../support/arena.ts';
import { MODES, makeXen } from './support/rig.ts';

const PAGE = 4096;
/** Bits of a grant entry's flags, from grant_table.h. */
const PERMIT_ACCESS = 1;
const READONLY = 4;
const READING = 8;
const WRITING = 16;

/** The words of a grant entry. */
function entryOf(arena: { u16: Uint16Array; u32: Uint32Array }, domain: Domain, ref: number) {
  const at = domain.grants.address + ref * 8;
  return {
    get flags() {
      return arena.u16[at >>> 1] ?? 0;
    },
    set flags(value: number) {
      arena.u16[at >>> 1] = value;
    },
    set domid(value: number) {
      arena.u16[(at + 2) >>> 1] = value;
    },
    set frame(value: number) {
      arena.u32[(at + 4) >>> 2] = value;
    },
  };
}

const cases = MODES.flatMap((mode) => BASES.map((base) => [mode, base] as const));

test.each(cases)('%s, arena at %i: a copy moves bytes both ways, and the entry is free afterwards', (mode, base) => {
  const { arena, driver, guest } = makeXen(mode, { base });
  const page = guest.allocPages(1);
  const buffer = arena.allocate('buffer', PAGE);
  arena.u8.set([1, 2, 3, 4], page + 100);
  const ref = guest.grants.grant(0, page);
  const batch = driver.hypervisor.createBatch('batch', 4);
  batch.set(0, { source: { domid: 1, ref, offset: 100 }, target: { address: buffer }, length: 4 });
  batch.set(1, { source: { address: buffer }, target: { domid: 1, ref, offset: 200 }, length: 3 });
  driver.hypervisor.copy(batch, 2);
  expect([batch.status(0), batch.status(1)]).toEqual([0, 0]);
  expect([...arena.u8.slice(buffer, buffer + 4)]).toEqual([1, 2, 3, 4]);
  expect([...arena.u8.slice(page + 200, page + 204)]).toEqual([1, 2, 3, 0]);
  expect(entryOf(arena, guest, ref).flags).toBe(PERMIT_ACCESS);
  expect(guest.grants.end(ref)).toBe(true);
  expect(driver.costs()).toMatchObject({ hypercalls: 1, copies: 2, copyBytes: 7, failed: 0 });
  expect(arena.damaged()).toEqual([]);
});

test.each(MODES)('%s: each rule of a copy has its status, and stops none of the others', (mode) => {
  const { arena, driver, guest, other } = makeXen(mode);
  const [page, readonlyPage, foreignPage] = [guest.allocPages(1), guest.allocPages(1), guest.allocPages(1)];
  const buffer = arena.allocate('buffer', 2 * PAGE);
  const ref = guest.grants.grant(0, page);
  const readonly = guest.grants.grant(0, readonlyPage, { readonly: true });
  const foreign = guest.grants.grant(2, foreignPage);
  const wild = guest.grants.grant(0, page);
  entryOf(arena, guest, wild).frame = guest.pages;
  const ended = guest.grants.grant(0, page);
  guest.grants.end(ended);
  const to = { address: buffer };
  const at = (grant: number, offset = 0, domid = 1) => ({ domid, ref: grant, offset });
  const copies: [GrantCopy, number][] = [
    [{ source: at(ref), target: to, length: PAGE }, GNTST.okay],
    [{ source: at(ref), target: to, length: 0 }, GNTST.okay],
    [{ source: at(ref, 0, 9), target: to, length: 1 }, GNTST.badDomain],
    [{ source: at(ref, 0, 0x7ff0), target: to, length: 1 }, GNTST.badDomain],
    [{ source: at(guest.grants.count), target: to, length: 1 }, GNTST.badGntref],
    [{ source: at(2 ** 32 - 1), target: to, length: 1 }, GNTST.badGntref],
    [{ source: at(ended), target: to, length: 1 }, GNTST.generalError],
    [{ source: at(foreign), target: to, length: 1 }, GNTST.generalError],
    [{ source: at(wild), target: to, length: 1 }, GNTST.badPage],
    [{ source: at(ref, 1), target: to, length: PAGE }, GNTST.badCopyArg],
    [{ source: at(ref, 65535), target: to, length: 65535 }, GNTST.badCopyArg],
    [{ source: at(readonly), target: to, length: 1 }, GNTST.okay],
    [{ source: to, target: at(readonly), length: 1 }, GNTST.generalError],
    [{ source: at(readonly), target: at(ref), length: PAGE }, GNTST.okay],
    [{ source: { address: arena.bytes - 1 }, target: at(ref), length: 2 }, GNTST.badPage],
    [{ source: at(ref), target: to, length: 1 }, GNTST.okay],
  ];
  const batch = driver.hypervisor.createBatch('batch', copies.length);
  for (const [i, [copy]] of copies.entries()) batch.set(i, copy);
  driver.hypervisor.copy(batch, copies.length);
  expect(copies.map((_, i) => batch.status(i))).toEqual(copies.map(([, status]) => status));
  expect(driver.costs()).toMatchObject({ hypercalls: 1, copies: copies.length, failed: 11 });
  for (const each of [ref, readonly, foreign, wild]) expect(guest.grants.end(each)).toBe(true);
  // A guest names by address its own memory alone.
  const own = other.hypervisor.createBatch('own', 2);
  const given = guest.grants.grant(2, page);
  own.set(0, { source: at(given), target: { address: other.memory + PAGE * other.pages - 8 }, length: 8 });
  own.set(1, { source: at(given), target: { address: other.memory + PAGE * other.pages - 8 }, length: 9 });
  other.hypervisor.copy(own, 2);
  expect([own.status(0), own.status(1)]).toEqual([GNTST.okay, GNTST.badPage]);
});

test.each(MODES)('%s: a mapped page is the granter’s until it is unmapped, and its grant cannot be ended', (mode) => {
  const { arena, driver, guest } = makeXen(mode);
  const { hypervisor } = driver;
  const pages = guest.allocPages(2);
  const refs = [guest.grants.grant(0, pages), guest.grants.grant(0, pages + PAGE)];
  const target = hypervisor.takePages(2);
  const mapped = hypervisor.map(
    refs.map((ref) => ({ domid: 1, ref })),
    target,
  );
  expect(mapped.map(({ status }) => status)).toEqual([0, 0]);
  const [first] = mapped;
  if (mode === 'mapped') expect(mapped.map(({ address }) => address)).toEqual([target, target + PAGE]);
  arena.u32[(first?.address ?? 0) >>> 2] = 0x12345678;
  expect(arena.u32[pages >>> 2]).toBe(0x12345678);
  expect(entryOf(arena, guest, refs[0] ?? 0).flags).toBe(PERMIT_ACCESS | READING | WRITING);
  expect(refs.map((ref) => guest.grants.end(ref))).toEqual([false, false]);
  expect(hypervisor.unmap(mapped.map(({ handle }) => handle))).toEqual([0, 0]);
  expect(refs.map((ref) => guest.grants.end(ref))).toEqual([true, true]);
  expect(guest.grants.inUse).toBe(0);
  expect(driver.costs()).toMatchObject({ hypercalls: 2, maps: 2, unmaps: 2, tlbFlushes: 1, failed: 0 });
  hypervisor.freePages(target);
});

test.each(MODES)('%s: each rule of map and unmap has its status', (mode) => {
  const { arena, driver, guest } = makeXen(mode, { driver: { mapPages: 4, maptrack: 2 } });
  const { hypervisor } = driver;
  const page = guest.allocPages(1);
  const ref = guest.grants.grant(0, page);
  const readonly = guest.grants.grant(0, page, { readonly: true });
  const foreign = guest.grants.grant(2, page);
  const wild = guest.grants.grant(0, page);
  entryOf(arena, guest, wild).frame = 2 ** 32 - 1;
  const target = hypervisor.takePages(4);
  const statusOf = (grant: { domid: number; ref: number; readonly?: boolean }, at: number): number =>
    hypervisor.map([grant], at)[0]?.status ?? 1;
  expect(statusOf({ domid: 9, ref }, target)).toBe(GNTST.badDomain);
  expect(statusOf({ domid: 1, ref: guest.grants.count }, target)).toBe(GNTST.badGntref);
  expect(statusOf({ domid: 1, ref: foreign }, target)).toBe(GNTST.generalError);
  expect(statusOf({ domid: 1, ref: readonly }, target)).toBe(GNTST.generalError);
  expect(statusOf({ domid: 1, ref: wild }, target)).toBe(GNTST.badPage);
  expect(entryOf(arena, guest, wild).flags).toBe(PERMIT_ACCESS);
  expect(statusOf({ domid: 1, ref }, target + 1)).toBe(GNTST.badVirtAddr);
  expect(statusOf({ domid: 1, ref }, target - PAGE)).toBe(GNTST.badVirtAddr);
  expect(statusOf({ domid: 1, ref }, target + 4 * PAGE)).toBe(GNTST.badVirtAddr);
  const [one] = hypervisor.map([{ domid: 1, ref: readonly, readonly: true }], target);
  expect(one?.status).toBe(GNTST.okay);
  expect(entryOf(arena, guest, readonly).flags).toBe(PERMIT_ACCESS | READONLY | READING);
  // A page that has something mapped; then the last handle is given, and there is none for a third.
  expect(statusOf({ domid: 1, ref }, target)).toBe(GNTST.badVirtAddr);
  const [two] = hypervisor.map([{ domid: 1, ref }], target + PAGE);
  expect(two?.status).toBe(GNTST.okay);
  expect(statusOf({ domid: 1, ref }, target + 2 * PAGE)).toBe(GNTST.noSpace);
  expect(hypervisor.unmap([2, 2 ** 32 - 1, one?.handle ?? 9, one?.handle ?? 9])).toEqual([
    GNTST.badHandle,
    GNTST.badHandle,
    GNTST.okay,
    GNTST.badHandle,
  ]);
  expect(hypervisor.unmap([one?.handle ?? 9, two?.handle ?? 9])).toEqual([GNTST.badHandle, GNTST.okay]);
  expect([ref, readonly, foreign, wild].map((each) => guest.grants.end(each))).toEqual([true, true, true, true]);
});

test.each(MODES)('%s: a granter that changes an entry in use changes nothing', (mode) => {
  const { arena, driver, guest } = makeXen(mode);
  const [page, secret] = [guest.allocPages(1), guest.allocPages(1)];
  const ref = guest.grants.grant(0, page);
  const target = driver.hypervisor.takePages(1);
  const [mapped] = driver.hypervisor.map([{ domid: 1, ref }], target);
  const entry = entryOf(arena, guest, ref);
  entry.frame = (secret - guest.memory) / PAGE;
  entry.domid = 2;
  entry.flags = 0;
  arena.u32[secret >>> 2] = 7;
  arena.u32[page >>> 2] = 8;
  const buffer = arena.allocate('buffer', 64);
  const batch = driver.hypervisor.createBatch('batch', 1);
  batch.set(0, { source: { domid: 1, ref, offset: 0 }, target: { address: buffer }, length: 4 });
  driver.hypervisor.copy(batch, 1);
  expect([batch.status(0), arena.u32[buffer >>> 2]]).toEqual([GNTST.okay, 8]);
  expect(driver.hypervisor.unmap([mapped?.handle ?? 9])).toEqual([GNTST.okay]);
  driver.hypervisor.copy(batch, 1);
  expect(batch.status(0)).toBe(GNTST.generalError);
});

test.each(MODES)('%s: a domain that ends while it is mapped keeps its memory until it is not', (mode) => {
  const { arena, xen, driver, guest } = makeXen(mode);
  const page = guest.allocPages(1);
  const ref = guest.grants.grant(0, page);
  const [mapped] = driver.hypervisor.map([{ domid: 1, ref }], driver.hypervisor.takePages(1));
  arena.u32[page >>> 2] = 77;
  xen.destroyDomain(1);
  expect(() => xen.createDomain(1, { pages: 4 })).toThrow(/still mapped/);
  expect(arena.u32[(mapped?.address ?? 0) >>> 2]).toBe(77);
  expect(driver.hypervisor.map([{ domid: 1, ref }], driver.hypervisor.takePages(1))[0]?.status).toBe(GNTST.badDomain);
  expect(driver.hypervisor.unmap([mapped?.handle ?? 9])).toEqual([GNTST.okay]);
  expect(xen.createDomain(1, { pages: 4 }).grants.inUse).toBe(0);
  for (const domid of [0, 1, 2]) xen.destroyDomain(domid);
  expect(arena.regions().map(({ name }) => name)).toEqual(['xen xen']);
});

/** What a random run does next. */
const step = fc.oneof(
  fc.record({ kind: fc.constant('grant' as const), page: fc.nat(7), readonly: fc.boolean(), domid: fc.nat(2) }),
  fc.record({ kind: fc.constant('end' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('map' as const), at: fc.nat(), readonly: fc.boolean(), target: fc.nat(4) }),
  fc.record({ kind: fc.constant('unmap' as const), handle: fc.nat(4) }),
  fc.record({
    kind: fc.constant('copy' as const),
    at: fc.nat(),
    writes: fc.boolean(),
    offset: fc.nat(5000),
    length: fc.nat(5000),
  }),
);

test.each(MODES)('%s: grants, maps and copies behave as the model says', (mode) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const rig = makeXen(mode, { driver: { mapPages: 4, maptrack: 3 }, guest: { grants: 16 } });
      const { driver, guest, arena: own } = rig;
      const pages = guest.allocPages(8);
      const buffer = own.allocate('buffer', 8192);
      const batch = driver.hypervisor.createBatch('batch', 1);
      const area = driver.hypervisor.takePages(4);
      const grants: { ref: number; page: number; readonly: boolean; domid: number; live: boolean }[] = [];
      const mappings = new Map<number, { grant: number; target: number; readonly: boolean }>();
      const pinsOf = (grant: number) => [...mappings.values()].filter((mapping) => mapping.grant === grant);
      const live = () => grants.filter((grant) => grant.live).length;
      for (const each of steps) {
        if (each.kind === 'grant') {
          const { page, readonly, domid } = each;
          const grant = () => guest.grants.grant(domid, pages + page * PAGE, { readonly });
          // Eight of 16 are reserved.
          if (live() === 8) expect(grant).toThrow(/in use/);
          else grants.push({ ref: grant(), page, readonly, domid, live: true });
        } else if (each.kind === 'unmap') {
          const known = mappings.delete(each.handle);
          expect(driver.hypervisor.unmap([each.handle])).toEqual([known ? GNTST.okay : GNTST.badHandle]);
        } else if (grants.length > 0) {
          const index = each.at % grants.length;
          const grant = grants[index] as (typeof grants)[number];
          // A reference is given again after its end; only its last grant counts.
          if (!grant.live) continue;
          const isOurs = grant.domid === 0;
          if (each.kind === 'end') {
            expect(guest.grants.end(grant.ref)).toBe(pinsOf(index).length === 0);
            grant.live = pinsOf(index).length > 0;
          } else if (each.kind === 'map') {
            const target = area + each.target * PAGE;
            const isTaken = [...mappings.values()].some((mapping) => mapping.target === target);
            const [mapped] = driver.hypervisor.map([{ domid: 1, ref: grant.ref, readonly: each.readonly }], target);
            const { status, handle } = mapped ?? { status: 1, handle: 0 };
            const expected =
              each.target === 4 || isTaken
                ? GNTST.badVirtAddr
                : mappings.size === 3
                  ? GNTST.noSpace
                  : !isOurs || (grant.readonly && !each.readonly)
                    ? GNTST.generalError
                    : GNTST.okay;
            expect(status).toBe(expected);
            if (status === 0) mappings.set(handle, { grant: index, target, readonly: each.readonly });
          } else {
            const { writes, offset, length } = each;
            const side = { domid: 1, ref: grant.ref, offset };
            const local = { address: buffer };
            batch.set(0, { source: writes ? local : side, target: writes ? side : local, length });
            driver.hypervisor.copy(batch, 1);
            const expected =
              offset + length > PAGE
                ? GNTST.badCopyArg
                : !isOurs || (grant.readonly && writes)
                  ? GNTST.generalError
                  : GNTST.okay;
            expect(batch.status(0)).toBe(expected);
          }
        }
        for (const [index, grant] of grants.entries()) {
          if (!grant.live) continue;
          const pins = pinsOf(index);
          const used = pins.length === 0 ? 0 : READING | (pins.some(({ readonly }) => !readonly) ? WRITING : 0);
          const flags = PERMIT_ACCESS | (grant.readonly ? READONLY : 0) | used;
          expect(entryOf(own, guest, grant.ref).flags).toBe(flags);
        }
        expect(guest.grants.inUse).toBe(live());
      }
      expect(own.damaged()).toEqual([]);
      for (const domain of rig.xen.domains.slice()) rig.xen.destroyDomain(domain.domid);
    }),
    { numRuns: 60 },
  );
});

test('what is out of range is refused, with the range', () => {
  const { xen, guest, driver } = makeXen('plain');
  expect(() => xen.createDomain(3, { pages: 0 })).toThrow(/pages=0, must be a whole number from 1 to 262144/);
  expect(() => xen.createDomain(3, { pages: 1, grants: 24 })).toThrow(/grants=24, must be a power of two from 16/);
  expect(() => xen.createDomain(1, { pages: 1 })).toThrow(/is there already/);
  expect(() => xen.createDomain(256, { pages: 1 })).toThrow(/from 0 to 255/);
  expect(() => guest.grants.grant(0, guest.memory + 1)).toThrow(/none of its 64 pages/);
  expect(() => guest.grants.end(8)).toThrow(/not granted/);
  expect(() => driver.hypervisor.createBatch('b', 1025)).toThrow(/from 1 to 1024/);
  expect(() => driver.hypervisor.takePages(257)).toThrow(/no 257 pages in a row/);
  expect(() => xen.destroyDomain(7)).toThrow(/no domain 7/);
});
