import fc from 'fast-check';
import { inTransaction, type XenStore } from 'ringway/xen';
import { expect, test } from 'vitest';
import { Store } from '#build/xen/store.js';

const HOME = '/local/domain/1';

/** A store with domains 0, 1 and 2. */
function makeStore(quotas = {}): { store: Store; root: XenStore; one: XenStore; two: XenStore } {
  const store = new Store(quotas);
  return { store, root: store.introduce(0), one: store.introduce(1), two: store.introduce(2) };
}

/** The name of the error that `promise` ends with; undefined when it does not. */
async function errorOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return (error as { error?: string }).error ?? String(error);
  }
}

/** Lets watches be told. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('nodes are written, read, listed and removed; what is missing above is made', async () => {
  const { root, one } = makeStore();
  await one.write('device/vif/0/state', '1');
  expect(await root.read(`${HOME}/device/vif/0/state`)).toBe('1');
  expect(await one.read('device/vif/0')).toBe('');
  await one.write('device/vif/0/mac', '00:16:3e:00:00:01');
  expect(await one.directory('device/vif/0')).toEqual(['mac', 'state']);
  await one.mkdir('device/vif/0');
  expect(await one.directory('device/vif/0')).toEqual(['mac', 'state']);
  await one.remove('device');
  expect(await errorOf(one.read('device/vif/0/state'))).toBe('ENOENT');
  expect(await one.directory(HOME)).toEqual(['domid']);
  await one.remove('device');
  expect(await errorOf(one.remove('device/vif/1'))).toBe('ENOENT');
  expect(await errorOf(root.remove('/'))).toBe('EINVAL');
});

test.each(['', 'a//b', '/a/', 'a b', 'a\0', 'ä', `/${'a'.repeat(3072)}`, 'a'.repeat(2049)])(
  'path %j is refused',
  async (path) => {
    const { root } = makeStore();
    expect(await errorOf(root.write(path, ''))).toBe('EINVAL');
  },
);

test('a domain reads and writes what it may', async () => {
  const { root, one, two } = makeStore();
  await one.write('secret', 'x');
  expect(await errorOf(two.read(`${HOME}/secret`))).toBe('EACCES');
  expect(await errorOf(two.read(`${HOME}/missing`))).toBe('EACCES');
  expect(await errorOf(two.write(`${HOME}/secret`, 'y'))).toBe('EACCES');
  expect(await errorOf(two.write(`${HOME}/new`, 'y'))).toBe('EACCES');
  expect(await errorOf(two.remove(`${HOME}/secret`))).toBe('EACCES');
  expect(await errorOf(two.setPermissions(`${HOME}/secret`, [{ domid: 2, access: 'b' }]))).toBe('EACCES');
  await one.setPermissions('secret', [
    { domid: 1, access: 'n' },
    { domid: 2, access: 'r' },
  ]);
  expect(await two.read(`${HOME}/secret`)).toBe('x');
  expect(await errorOf(two.write(`${HOME}/secret`, 'y'))).toBe('EACCES');
  expect(await errorOf(two.setPermissions(`${HOME}/secret`, [{ domid: 2, access: 'b' }]))).toBe('EACCES');
  await one.setPermissions('secret', [
    { domid: 1, access: 'n' },
    { domid: 2, access: 'b' },
  ]);
  await two.write(`${HOME}/secret`, 'z');
  // What it makes below is its own, with the other permissions of what is above.
  await two.write(`${HOME}/secret/below`, '');
  expect(await root.permissions(`${HOME}/secret/below`)).toEqual([
    { domid: 2, access: 'n' },
    { domid: 2, access: 'b' },
  ]);
  expect(await errorOf(one.setPermissions('secret', [{ domid: 2, access: 'n' }]))).toBe('EPERM');
  expect(await errorOf(one.setPermissions('secret', []))).toBe('EINVAL');
  expect(await root.read(`${HOME}/secret`)).toBe('z');
});

test('a transaction is seen by nobody before it is committed, and fails when somebody comes between', async () => {
  const { one, two, root } = makeStore();
  await one.write('a', '1');
  const transaction = await one.begin();
  await transaction.write('a', '2');
  await transaction.write('b/c', '3');
  expect(await transaction.directory(HOME)).toEqual(['a', 'b', 'domid']);
  expect([await one.read('a'), await errorOf(one.read('b'))]).toEqual(['1', 'ENOENT']);
  await transaction.commit();
  expect([await one.read('a'), await one.read('b/c')]).toEqual(['2', '3']);
  expect(await errorOf(transaction.commit())).toBe('ENOENT');
  expect(await errorOf(transaction.read('a'))).toBe('ENOENT');

  const reader = await one.begin();
  await reader.read('a');
  await reader.write('d', '4');
  await root.write(`${HOME}/a`, '5');
  expect(await errorOf(reader.commit())).toBe('EAGAIN');
  expect(await errorOf(one.read('d'))).toBe('ENOENT');

  // A node that went and came back is another.
  const again = await one.begin();
  await again.read('a');
  await one.remove('a');
  await one.write('a', '5');
  expect(await errorOf(again.commit())).toBe('EAGAIN');

  // That something is missing is read, too.
  const missing = await one.begin();
  await errorOf(missing.read('e'));
  await one.write('e', '');
  expect(await errorOf(missing.commit())).toBe('EAGAIN');

  const elsewhere = await one.begin();
  await elsewhere.write('a', '6');
  await two.write('x', '');
  await elsewhere.commit();
  expect(await one.read('a')).toBe('6');

  const aborted = await one.begin();
  await aborted.write('a', '7');
  await aborted.abort();
  expect(await one.read('a')).toBe('6');
});

test('inTransaction begins again until nobody comes between, and passes other errors on', async () => {
  const { one, root } = makeStore();
  await one.write('n', '0');
  let tries = 0;
  const result = await inTransaction(one, async (transaction) => {
    const n = Number(await transaction.read('n'));
    if (++tries < 3) await root.write(`${HOME}/n`, String(n + 10));
    await transaction.write('n', String(n + 1));
    return n;
  });
  expect([result, tries, await one.read('n')]).toEqual([20, 3, '21']);
  expect(await errorOf(inTransaction(one, (transaction) => transaction.read('none')))).toBe('ENOENT');
  const never = inTransaction(
    one,
    async (transaction) => {
      await transaction.write('n', '');
      await one.write('n', '1');
    },
    2,
  );
  expect(await errorOf(never)).toBe('EAGAIN');
});

test('a watch is told once at first, then of changes there and below, in the form of its path', async () => {
  const { one, two, root } = makeStore();
  const told: string[] = [];
  const tell = (path: string, token: string): void => void told.push(`${token} ${path}`);
  const unwatch = await one.watch('device', 'mine', tell);
  await root.watch(`${HOME}/device`, 'roots', tell);
  await two.watch(`${HOME}/device`, 'foreign', tell);
  await settle();
  expect(told.splice(0)).toEqual(['mine device', `roots ${HOME}/device`, `foreign ${HOME}/device`]);
  await one.write('device/vif', '');
  await one.write('devices', '');
  await settle();
  expect(told.splice(0)).toEqual(['mine device/vif', `roots ${HOME}/device/vif`]);
  const transaction = await one.begin();
  await transaction.write('device/vif/0', '');
  await transaction.write('device/vif/1', '');
  await settle();
  expect(told).toEqual([]);
  await transaction.commit();
  await settle();
  expect(told.splice(0).filter((line) => line.startsWith('mine'))).toEqual(['mine device/vif/0', 'mine device/vif/1']);
  await one.remove('device');
  await settle();
  expect(told.splice(0)).toContain('mine device/vif/0');
  expect(await errorOf(one.watch('device', 'mine', tell))).toBe('EEXIST');
  await unwatch();
  await one.write('device', '');
  await settle();
  expect(told.splice(0)).toEqual([`roots ${HOME}/device`]);
});

test('domains that come and go are told to the privileged, and what was theirs goes', async () => {
  const { store, root, one } = makeStore();
  const told: string[] = [];
  await root.watch('@introduceDomain', 'in', (path) => void told.push(path));
  await root.watch('@releaseDomain', 'out', (path) => void told.push(path));
  await one.watch('@releaseDomain', 'out', (path) => void told.push(`one ${path}`));
  await settle();
  expect(told.splice(0)).toEqual(['@introduceDomain', '@releaseDomain', 'one @releaseDomain']);
  store.introduce(3);
  await settle();
  expect(told.splice(0)).toEqual(['@introduceDomain']);
  await one.begin();
  store.release(1);
  await settle();
  expect(told.splice(0)).toEqual(['@releaseDomain']);
  expect(await errorOf(root.read(`${HOME}/domid`))).toBe('ENOENT');
  expect(await errorOf(one.read('domid'))).toBe('EINVAL');
  expect(await errorOf(one.begin())).toBe('EINVAL');
});

test('quotas bind domains, and not the privileged one', async () => {
  const quotas = { nodes: 5, watches: 1, transactions: 2, nodeBytes: 100, permissions: 2 };
  const { one, root } = makeStore(quotas);
  const transaction = await one.begin();
  await one.begin();
  expect(await errorOf(one.begin())).toBe('ENOSPC');
  await one.watch('a', 't', () => {});
  expect(await errorOf(one.watch('b', 't', () => {}))).toBe('E2BIG');
  expect(await errorOf(one.write('a', 'x'.repeat(100)))).toBe('ENOSPC');
  await one.write('a', 'x');
  const three = [0, 1, 2].map((domid) => ({ domid, access: 'r' as const }));
  expect(await errorOf(one.setPermissions('a', [{ domid: 1, access: 'n' }, ...three]))).toBe('ENOSPC');
  // Its home, its number and `a` are three.
  expect(await errorOf(transaction.write('b/c/d', ''))).toBe('ENOSPC');
  await transaction.write('b/c', '');
  await one.write('e', '');
  expect(await errorOf(transaction.commit())).toBe('EAGAIN');
  await one.write('f', '');
  expect(await errorOf(one.write('g', ''))).toBe('ENOSPC');
  await one.remove('f');
  await one.write('g', '');
  await root.write(`${HOME}/h`, 'x'.repeat(3000));
  expect(await errorOf(root.write('/big', 'x'.repeat(4096)))).toBe('E2BIG');
});

/** A model: a map from paths to values, and for a transaction a copy of it. */
const paths = ['a', 'a/b', 'a/b/c', 'd', 'd/e'];
const action = fc.record({
  kind: fc.constantFrom('write', 'remove', 'read', 'begin', 'commit', 'abort'),
  inside: fc.boolean(),
  path: fc.constantFrom(...paths),
  value: fc.string({ maxLength: 3 }),
});

function removeFrom(model: Map<string, string>, path: string): void {
  for (const key of [...model.keys()]) if (key === path || key.startsWith(`${path}/`)) model.delete(key);
}

function writeTo(model: Map<string, string>, path: string, value: string): void {
  const parts = path.split('/');
  for (let n = 1; n < parts.length; n++) {
    const above = parts.slice(0, n).join('/');
    if (!model.has(above)) model.set(above, '');
  }
  model.set(path, value);
}

test('any sequence of operations gives what a map of paths would; a transaction is all or nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
      const { one } = makeStore();
      const model = new Map<string, string>();
      let inner: { operations: Awaited<ReturnType<XenStore['begin']>>; model: Map<string, string> } | undefined;
      let disturbed = false;
      for (const { kind, inside, path, value } of actions) {
        const isInside = inside && inner !== undefined;
        const target = isInside && inner !== undefined ? inner.operations : one;
        const expected = isInside && inner !== undefined ? inner.model : model;
        if (kind === 'write') {
          await target.write(path, value);
          writeTo(expected, path, value);
          disturbed ||= !isInside;
        } else if (kind === 'remove') {
          const parent = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : undefined;
          const fails = !expected.has(path) && parent !== undefined && !expected.has(parent);
          expect(await errorOf(target.remove(path))).toBe(fails ? 'ENOENT' : undefined);
          disturbed ||= !isInside && expected.has(path);
          removeFrom(expected, path);
        } else if (kind === 'read') {
          const is = expected.has(path) ? await target.read(path) : await errorOf(target.read(path));
          expect(is).toBe(expected.get(path) ?? 'ENOENT');
        } else if (kind === 'begin') {
          await inner?.operations.abort();
          inner = { operations: await one.begin(), model: new Map(model) };
          disturbed = false;
        } else if (inner !== undefined) {
          if (kind === 'commit') {
            const error = await errorOf(inner.operations.commit());
            // Conflicts are found by node, so what came between need not matter; without anything between there is none.
            if (!disturbed) expect(error).toBeUndefined();
            if (error === undefined && !disturbed) {
              model.clear();
              for (const [key, each] of inner.model) model.set(key, each);
            } else if (error === undefined) return;
          } else await inner.operations.abort();
          inner = undefined;
        }
      }
      for (const path of paths) {
        const is = model.has(path) ? await one.read(path) : await errorOf(one.read(path));
        expect(is).toBe(model.get(path) ?? 'ENOENT');
      }
    }),
    { numRuns: 200 },
  );
});
