import { type Devices, requireSys } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';

/** Values of the Linux headers (include/uapi/linux/sockios.h, if.h). */
const AF_UNIX = 1;
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCGIFMTU = 0x8921;
const SIOCGIFINDEX = 0x8933;
const IFF_UP = 1;
/** struct ifreq: a name of up to 15 bytes with a zero behind it, then a union. */
export const IFREQ_BYTES = 40;
export const IFREQ_UNION = 16;

/** A struct ifreq for the interface `name`. */
export function ifreq(name: string): Uint8Array {
  const request = new Uint8Array(IFREQ_BYTES);
  request.set(new TextEncoder().encode(name).subarray(0, IFREQ_UNION - 1));
  return request;
}

/** Runs `ask` with a socket that any user may open: calls about interfaces want one, no matter which. */
function withSocket<T>(devices: Devices, ask: (fd: number) => T): T {
  const fd = devices.socket(AF_UNIX, 0);
  try {
    return ask(fd);
  } finally {
    requireSys('an interface').closeFd(fd);
  }
}

/** A network interface of the system. */
export interface Interface {
  readonly index: number;
  /** Bytes of a frame behind its Ethernet header, at most. */
  readonly mtu: number;
}

/** @throws RingwayError `SYSTEM` when there is no interface `name` in this network namespace. */
export function findInterface(devices: Devices, name: string): Interface {
  return withSocket(devices, (fd) => {
    const ask = (request: number, what: string): number => {
      const argument = ifreq(name);
      devices.ioctl(fd, request, argument, `${what} of ${name}`);
      return new DataView(argument.buffer).getInt32(IFREQ_UNION, true);
    };
    return { index: ask(SIOCGIFINDEX, 'SIOCGIFINDEX'), mtu: ask(SIOCGIFMTU, 'SIOCGIFMTU') };
  });
}

/** Sets the interface up. */
export function setUp(devices: Devices, name: string): void {
  withSocket(devices, (fd) => {
    const argument = ifreq(name);
    const view = new DataView(argument.buffer);
    devices.ioctl(fd, SIOCGIFFLAGS, argument, `SIOCGIFFLAGS of ${name}`);
    view.setUint16(IFREQ_UNION, view.getUint16(IFREQ_UNION, true) | IFF_UP, true);
    devices.ioctl(fd, SIOCSIFFLAGS, argument, `SIOCSIFFLAGS of ${name}`);
  });
}

/** Why a call about an interface fails, and what to do, by the errno that its error ends with. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/: (EPERM|EACCES)$/, 'run as root, or give Node the capabilities CAP_NET_RAW and CAP_NET_ADMIN'],
  [/: (ENODEV|ENXIO)$/, 'no interface of that name is in this network namespace; `ip link` lists them'],
  [/: ENOENT$/, 'load the module with `modprobe tun`'],
  [/: EBUSY$/, 'another program uses it; end that one, or take another interface or queue'],
  [/: (EAFNOSUPPORT|EPROTONOSUPPORT|EOPNOTSUPP|ENOPROTOOPT)$/, 'this kernel, or the driver, does not support it'],
];

/**
 * Runs what opens the interface of a port.
 * @throws RingwayError `SYSTEM` with the port's name, the call, its errno and what can be done.
 */
export function opening<T>(port: string, open: () => T): T {
  try {
    return open();
  } catch (cause) {
    if (!(cause instanceof RingwayError) || cause.code !== 'SYSTEM') throw cause;
    const hint = HINTS.find(([errno]) => errno.test(cause.message))?.[1];
    throw new RingwayError('SYSTEM', `${port}: ${cause.message}${hint === undefined ? '' : `: ${hint}`}`, { cause });
  }
}
