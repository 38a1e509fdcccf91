// Does each case with real mappings, in a process of its own: a page that was taken back is not there, and who touches it dies.
// Prints a line for each case. With `revoked` it touches such a page: that this process does not survive is what the others rest on.
import { runAbuse } from './abuse.ts';
import { BACK_CASES } from './abuse-back.ts';
import { FRONT_CASES } from './abuse-front.ts';
import { makeVif } from './vif-rig.ts';

if (process.argv[2] === 'revoked') {
  const { driver, guest, arena } = await makeVif({ mode: 'mapped' });
  const ref = guest.grants.grant(0, guest.allocPages(1));
  const [mapped] = driver.hypervisor.map([{ domid: 1, ref }], driver.hypervisor.takePages(1));
  arena.u8[mapped?.address ?? 0] = 1;
  driver.hypervisor.unmap([mapped?.handle ?? 0]);
  console.log('mapped');
  arena.u8[mapped?.address ?? 0] = 2;
} else {
  for (const each of [...BACK_CASES, ...FRONT_CASES]) {
    const error = await runAbuse(each, 'mapped').then(
      () => undefined,
      (thrown: unknown) => (thrown instanceof Error ? thrown.stack : String(thrown)),
    );
    console.log(JSON.stringify({ name: each.name, error }));
  }
}
console.log('end');
