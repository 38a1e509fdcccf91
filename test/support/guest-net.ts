import type { Guest } from './qemu.ts';

/** Features of virtio by their bits (OASIS virtio 1.2, 5.1.3 and 6), as far as tests ask for them. */
export const FEATURE = {
  csum: 0,
  guestCsum: 1,
  guestTso4: 7,
  hostTso4: 11,
  mrgRxbuf: 15,
  status: 16,
  ctrlVq: 17,
  mq: 22,
  indirect: 28,
  eventIdx: 29,
  version1: 32,
  packed: 34,
  inOrder: 35,
  ringReset: 40,
} as const;

/** Gives a device an address such as `10.0.0.1/24`, and takes it into operation. */
export async function setAddress(guest: Guest, address: string, device = 'eth0'): Promise<void> {
  const family = address.includes(':') ? '-6' : '-4';
  await guest.must(`ip link set ${device} up && ip ${family} addr add ${address} dev ${device}`);
}

/** What the guest's driver and the device agreed upon, for `FEATURE`. */
export async function featuresOf(guest: Guest, device = 'eth0'): Promise<(feature: keyof typeof FEATURE) => boolean> {
  const bits = await guest.must(`cat /sys/class/net/${device}/device/features`);
  if (!/^[01]{64}$/.test(bits)) throw new Error(`features of ${device} of ${guest.name} are '${bits}'`);
  return (feature) => bits[FEATURE[feature]] === '1';
}

/** Whether the device says that its link is up. */
export async function hasCarrier(guest: Guest, device = 'eth0'): Promise<boolean> {
  return (await guest.must(`cat /sys/class/net/${device}/carrier`)) === '1';
}

/** Waits until the guest says that the device's link is up, or down. Throws after `timeoutMs`. */
export async function untilCarrier(guest: Guest, up: boolean, device = 'eth0', timeoutMs = 20_000): Promise<void> {
  const path = `/sys/class/net/${device}/carrier`;
  await guest.must(`until [ "$(cat ${path})" = ${+up} ]; do sleep 0.1; done`, timeoutMs);
}

/** A number that the guest's kernel counts at a device, such as `rx_packets` or `tx_dropped`. */
export async function statisticOf(guest: Guest, name: string, device = 'eth0'): Promise<number> {
  return Number(await guest.must(`cat /sys/class/net/${device}/statistics/${name}`));
}

export interface PingOptions {
  readonly count?: number;
  /** Bytes behind the header of ICMP. */
  readonly size?: number;
  /** Seconds between two. */
  readonly interval?: number;
}

/** Pings `address` from a guest. Returns how many requests were answered; throws when the program does not work. */
export async function pingBetween(
  from: Guest,
  address: string,
  { count = 5, size = 56, interval = 0.1 }: PingOptions = {},
): Promise<{ sent: number; received: number }> {
  // The first answer may wait for the neighbor to be found, as long as that takes on a busy machine.
  const command = `ping${address.includes(':') ? '6' : ''} -c ${count} -s ${size} -i ${interval} -W 5 ${address}`;
  const { output } = await from.run(command, 20_000 + count * 1000);
  const [, sent, received] = /(\d+) packets transmitted, (\d+) packets received/.exec(output) ?? [];
  if (sent === undefined) throw new Error(`'${command}' of ${from.name} wrote: ${output}`);
  return { sent: Number(sent), received: Number(received) };
}

/**
 * Has a guest's kernel send UDP as fast as it can, or as many frames a second, through several devices, until their links go
 * down.
 * @param to for each device the MAC and the address of who gets it.
 */
export async function startFlood(
  guest: Guest,
  to: Readonly<Record<string, readonly [mac: string, address: string]>>,
  framesPerSecond?: number,
): Promise<void> {
  const folder = '/proc/net/pktgen';
  const lines = Object.entries(to).flatMap(([device, [mac, address]]) => [
    `echo add_device ${device} > ${folder}/kpktgend_0`,
    ...['count 0', 'pkt_size 200', `dst_mac ${mac}`, `dst ${address}`].map(
      (word) => `echo ${word} > ${folder}/${device}`,
    ),
    ...(framesPerSecond === undefined ? [] : [`echo ratep ${framesPerSecond} > ${folder}/${device}`]),
  ]);
  await guest.must(['modprobe pktgen', `echo rem_device_all > ${folder}/kpktgend_0`, ...lines].join(' && '));
  // It answers when the last link is down.
  guest.run(`echo start > ${folder}/pgctrl`, 600_000).catch(() => {});
}

let nextPort = 5000;

/**
 * Sends random bytes from one guest to an address of another over TCP, and compares what came by its checksum: throws when
 * it differs.
 * @returns milliseconds that the transfer took, with all that is around it.
 */
export async function transferFile(
  from: Guest,
  to: Guest,
  address: string,
  bytes = 4 << 20,
  timeoutMs = 60_000,
): Promise<number> {
  const port = nextPort++;
  const [sent, got] = [`/run/sent-${port}`, `/run/got-${port}`];
  const sum = (path: string): string => `sha256sum ${path} | cut -d ' ' -f 1; rm ${path}`;
  await from.must(`head -c ${bytes} /dev/urandom > ${sent}`);
  const start = Date.now();
  // Either nc ends when the other has sent its last byte: this one never does, as somebody can still write to its input.
  const receiving = to.must(`mkfifo ${got}.in; nc -l -p ${port} <> ${got}.in > ${got}; rm ${got}.in`, timeoutMs);
  // It is waited for further down, and may fail before.
  receiving.catch(() => {});
  await to.must(`until netstat -ltn | grep -q ':${port} '; do sleep 0.05; done`);
  await from.must(`nc ${address} ${port} < ${sent}`, timeoutMs);
  await receiving;
  const took = Date.now() - start;
  const [expected, found] = await Promise.all([from.must(sum(sent)), to.must(`wc -c < ${got}; ${sum(got)}`)]);
  if (found !== `${bytes}\n${expected}`) {
    throw new Error(`${to.name} got other bytes from ${from.name}: ${bytes} ${expected} became ${found}`);
  }
  return took;
}

/** What `iperf3` says of a TCP stream between guests that have that program. Mbit/s at the receiver. */
export async function iperfBetween(
  from: Guest,
  to: Guest,
  address: string,
  seconds = 2,
  flags: readonly string[] = [],
): Promise<number> {
  const port = nextPort++;
  await to.must(`iperf3 -s -1 -D -p ${port}`);
  await to.must(`until netstat -ltn | grep -q ':${port} '; do sleep 0.05; done`);
  const command = `iperf3 -J -c ${address} -p ${port} -t ${seconds} ${flags.join(' ')}`;
  const { output } = await from.run(command, 30_000 + seconds * 2000);
  const report = JSON.parse(output) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
  const rate = report.end?.sum_received?.bits_per_second;
  if (rate === undefined) throw new Error(`'${command}' of ${from.name}: ${report.error ?? output}`);
  return rate / 1e6;
}
