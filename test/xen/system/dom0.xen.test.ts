import { afterAll, beforeAll, expect, test } from 'vitest';
import { endPrograms, missingPrograms } from '../../support/program.ts';
import type { Guest } from '../../support/qemu.ts';
import { bootXen, xenUnavailable } from '../../support/xen-machine.ts';

const missing = missingPrograms('qemu-system-x86_64', 'busybox');
const why = missing.length > 0 ? `no ${missing.join(', ')}` : xenUnavailable();
if (why !== undefined) console.warn(`dom0.xen.test.ts is skipped: ${why}`);

/** What the domain's address is, and that of the tap in domain 0 that ringway switches to it. */
const [DOMU, DOM0] = ['10.0.0.2', '10.0.0.1'];
const BYTES = 1 << 20;

const CONFIG = `
version: 1
name: dom0
lcores: [{ idle: park }]
ports:
  net0: { type: xen-netback, xen: system, queues: 2 }
  tap0: { type: tap, interface: rw0 }
`;

let xen: Guest;

/** Waits until a command of domain 0 succeeds. */
async function until(command: string, seconds = 60): Promise<string> {
  return xen.must(`for i in $(seq ${seconds * 2}); do ${command} && exit; sleep 0.5; done; exit 1`, seconds * 2000);
}

const backend = (domid: number): string => `/local/domain/0/backend/vif/${domid}/0`;
const frontend = (domid: number): string => `/local/domain/${domid}/device/vif/0`;
const areConnected = (domid: number): string =>
  [backend(domid), frontend(domid)].map((path) => `[ "$(xenstore-read ${path}/state)" = 4 ]`).join(' && ');
const RINGWAY = '$(cat /tmp/pid)';

/** Starts ringway and waits until the tap is there, which is when all ports are. */
async function startRingway(): Promise<void> {
  const run = 'node dist/cli/main.js run /domu/ringway.yaml & echo $! > /tmp/pid; wait $!; echo "exit $?"';
  await xen.must(`(cd /ringway; setsid sh -c '${run}' > /tmp/log 2>&1 < /dev/null &)`);
  await until('ip link show rw0 > /dev/null 2>&1');
  await xen.must(`ip addr add ${DOM0}/24 dev rw0; ip link set rw0 up`);
}

/** Starts a domain whose vif is the port net0, and waits until it answers. */
async function createDomain(name: string, extra: string): Promise<void> {
  await xen.must(`cat > /domu/${name}.cfg << END
name = "${name}"
kernel = "/domu/kernel"
ramdisk = "/domu/initramfs"
extra = "console=hvc0 quiet address=${DOMU}/24"
vif = [ "vifname=net0, mac=00:16:3e:00:00:02, script=/bin/true" ]
${extra}
END
xl create /domu/${name}.cfg`);
  await until(`ping -c 1 -W 1 ${DOMU} > /dev/null`);
}

/** Has a shell of the domain run commands; returns what they wrote. */
function inDomain(commands: string): Promise<string> {
  return xen.must(`echo ${Buffer.from(commands).toString('base64')} | base64 -d | nc ${DOMU} 9000`);
}

async function ping(): Promise<void> {
  const text = await xen.must(`ping -c 20 -i 0.2 -W 5 ${DOMU} | tail -2`);
  console.log(text);
  expect(text).toContain('20 packets received');
}

/** Sends a file each way over TCP, and compares hashes. */
async function transferBoth(): Promise<void> {
  const make = `dd if=/dev/urandom of=/tmp/sent bs=65536 count=${BYTES / 65536} 2> /dev/null`;
  const hash = 'sha256sum /tmp/sent /tmp/received | cut -d " " -f 1';
  await xen.must(`${make}; (nc -l -p 8000 -e cat /tmp/sent > /dev/null 2>&1 < /dev/null &)`);
  // One whose input has ended tells the other side, which then ends.
  await xen.must('(sleep 60 | nc -l -p 8001 > /tmp/received 2> /dev/null &)');
  const domain = await inDomain(`${make}; nc ${DOM0} 8000 > /tmp/received; nc ${DOM0} 8001 < /tmp/sent; ${hash}`);
  await until(`[ $(stat -c %s /tmp/received) = ${BYTES} ]`);
  const [sent, received] = (await xen.must(hash)).split('\n');
  console.log(`domain 0 sent and received\n${sent}\n${received}\nthe domain sent and received\n${domain}`);
  expect(domain).toBe(`${received}\n${sent}`);
}

beforeAll(async () => {
  if (why !== undefined) return;
  const start = Date.now();
  xen = await bootXen();
  await xen.must(`cat > /domu/ringway.yaml << END${CONFIG}END`);
  await startRingway();
  console.log(`domain 0 runs, with ringway, after ${((Date.now() - start) / 1000).toFixed(1)} s`);
}, 240_000);
afterAll(() => endPrograms());

test.skipIf(why !== undefined)('a PV domain gets an answer to each ping, and files pass whole', async () => {
  await createDomain('pv', 'memory = 96');
  console.log(await xen.must(`xenstore-ls ${backend(1)}; xenstore-ls ${frontend(1)}`));
  await until(areConnected(1), 5);
  await ping();
  await transferBoth();
});

/** How often each queue's event channels of the domain were heard: what came, and what was taken. */
async function interruptsOf(queue: number): Promise<number[]> {
  const lines = (await inDomain(`grep -e -q${queue}- /proc/interrupts`)).split('\n');
  const counts = (end: string): number[] =>
    (lines.find((line) => line.trim().endsWith(`-${end}`)) ?? '')
      .split(/ +/)
      .filter((word) => /^\d+$/.test(word))
      .map(Number);
  return ['rx', 'tx'].map((end) => counts(end).reduce((sum, count) => sum + count, 0));
}

test.skipIf(why !== undefined)('both queues of its device carry frames both ways', async () => {
  expect(await xen.must(`xenstore-read ${frontend(1)}/multi-queue-num-queues`)).toBe('2');
  const before = [await interruptsOf(0), await interruptsOf(1)];
  // Each has a flow of its own: asked there, and refused here.
  await inDomain(`for port in $(seq 9100 9131); do nc -w 1 ${DOM0} $port < /dev/null 2> /dev/null; done; true`);
  const after = [await interruptsOf(0), await interruptsOf(1)];
  console.log(`interrupts of each queue, rx and tx: ${JSON.stringify(before)}, then ${JSON.stringify(after)}`);
  for (const [queue, counts] of after.entries()) {
    for (const [end, count] of counts.entries()) expect(count).toBeGreaterThan(before[queue]?.[end] ?? Number.NaN);
  }
});

test.skipIf(why !== undefined)('its driver lets the device go and takes it again', async () => {
  const driver = '/sys/bus/xen/drivers/vif';
  const again = 'until ip addr add address dev eth0; do sleep 0.1; done; ip link set eth0 up'.replace(
    'address',
    `${DOMU}/24`,
  );
  await inDomain(
    `(sleep 1; echo vif-0 > ${driver}/unbind; touch /tmp/gone; echo vif-0 > ${driver}/bind; ${again}) > /dev/null 2>&1 &`,
  );
  await until(`ping -c 1 -W 1 ${DOMU} > /dev/null && [ "$(echo ls /tmp/gone | nc -w 5 ${DOMU} 9000)" = /tmp/gone ]`);
  await until(areConnected(1), 5);
  await ping();
});

test.skipIf(why !== undefined).each([
  ['was stopped', 'kill', /^exit 0$/m],
  ['crashed', 'kill -9', /^exit 137$/m],
] as const)('a ringway that %s comes back, and goes on where it was', async (_, kill, exit) => {
  await xen.must(`${kill} ${RINGWAY}`);
  await until('grep exit /tmp/log');
  expect(await xen.must('cat /tmp/log')).toMatch(exit);
  expect(await xen.must(`xenstore-read ${frontend(1)}/state`)).toBe('4');
  await startRingway();
  await until(`ping -c 1 -W 1 ${DOMU} > /dev/null`);
  await until(areConnected(1), 5);
  await transferBoth();
});

test.skipIf(why !== undefined)(
  'without a socket xenstored is reached through the kernel, as in a driver domain',
  async () => {
    await xen.must(`kill ${RINGWAY}`);
    await until('grep exit /tmp/log');
    await xen.must('mv /run/xenstored/socket /run/xenstored/away');
    await startRingway();
    await xen.must('mv /run/xenstored/away /run/xenstored/socket');
    expect(await xen.must(`ls -l /proc/${RINGWAY}/fd | grep -c /dev/xen/xenbus`)).toBe('1');
    await until(`ping -c 1 -W 1 ${DOMU} > /dev/null`);
    await until(areConnected(1), 5);
    await transferBoth();
  },
);

// Ringway is still the one without a socket.
test.skipIf(why !== undefined)('a PVH domain takes its place, and nothing is left behind', async () => {
  const descriptors = `ls /proc/${RINGWAY}/fd | wc -l`;
  const before = await xen.must(descriptors);
  await xen.must('xl destroy pv');
  await createDomain('pvh', 'type = "pvh"\nmemory = 128');
  await until(areConnected(2), 5);
  await ping();
  await transferBoth();
  expect(await xen.must(descriptors)).toBe(before);
  await xen.must('xl destroy pvh');
  expect(await xen.must('xenstore-ls /local/domain/0/backend 2> /dev/null || true')).not.toContain('net0');
  await xen.must(`kill ${RINGWAY}`);
  await until('grep exit /tmp/log');
  const log = await xen.must('cat /tmp/log');
  console.log(log);
  expect(log).toMatch(/^exit 0$/m);
});
