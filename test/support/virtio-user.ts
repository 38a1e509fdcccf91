import { readdirSync } from 'node:fs';
import type { PortSnapshot, RunningDataplane } from 'ringway';
import { start } from './dataplanes.ts';

const TO_DEVICE = '02:00:00:00:00:0a';
const TO_DRIVER = '02:00:00:00:00:0b';
/** What is on either side of the connection. */
const DRIVER_VLAN = 10;
const DEVICE_VLAN = 20;

/** Descriptors that this process has open. */
export function countFds(): number {
  return readdirSync('/proc/self/fd').length;
}

export function portOf(dataplane: RunningDataplane, name: string): PortSnapshot {
  const found = dataplane.snapshot().ports.find((port) => port.name === name);
  if (found === undefined) throw new Error(`no port ${name}`);
  return found;
}

export interface LinkedOptions {
  readonly socket: string;
  /** Settings of the two ends; without one of the device, that is in another program. */
  readonly driver?: object;
  readonly device?: object;
  readonly lcores?: readonly object[];
  /** Engines that copy for the device. */
  readonly async?: object;
}

/** A driver's port and a device's, in one dataplane, with a sink behind each. */
export class Linked {
  readonly dataplane: RunningDataplane;
  readonly #driver: object;
  readonly #device: object;
  #serial = 0;

  private constructor(dataplane: RunningDataplane, driver: object, device: object) {
    this.dataplane = dataplane;
    this.#driver = driver;
    this.#device = device;
  }

  static async start(options: LinkedOptions): Promise<Linked> {
    const { socket, driver, device, lcores = [{ idle: 'park' }], async } = options;
    const devicePort = { type: 'vhost-user', socket, vlan: { access: DEVICE_VLAN }, ...device };
    const driverPort = { type: 'virtio-user', socket, vlan: { access: DRIVER_VLAN }, ...driver };
    const dataplane = await start({
      version: 1,
      lcores,
      memory: '512MiB',
      ...(async === undefined ? {} : { async }),
      ports: {
        driver: driverPort,
        device: device === undefined ? { type: 'null' } : devicePort,
        atDevice: { type: 'null', vlan: { access: DEVICE_VLAN } },
        atDriver: { type: 'null', vlan: { access: DRIVER_VLAN } },
      },
      switch: {
        static: [
          { mac: TO_DEVICE, vlan: DRIVER_VLAN, port: 'driver' },
          { mac: TO_DEVICE, vlan: DEVICE_VLAN, port: 'atDevice' },
          { mac: TO_DRIVER, vlan: DEVICE_VLAN, port: 'device' },
          { mac: TO_DRIVER, vlan: DRIVER_VLAN, port: 'atDriver' },
        ],
      },
    });
    return new Linked(dataplane, driverPort, devicePort);
  }

  port(name: string): PortSnapshot {
    return portOf(this.dataplane, name);
  }

  /** Packets that arrived at the other end. */
  arrived(at: 'device' | 'driver'): number {
    return this.port(at === 'device' ? 'atDevice' : 'atDriver').txPackets;
  }

  /** Starts to send to one end. Returns the generator's name. A packet that it sends before the switch knows it is dropped. */
  async send(to: 'device' | 'driver', generator: object): Promise<string> {
    const name = `load${this.#serial++}`;
    const [dstMac, access] = to === 'device' ? [TO_DEVICE, DRIVER_VLAN] : [TO_DRIVER, DEVICE_VLAN];
    await this.dataplane.addPort(name, { type: 'generator', dstMac, vlan: { access }, ...generator });
    return name;
  }

  /** Waits until packets get to one end. */
  async untilUp(to: 'device' | 'driver'): Promise<void> {
    const before = this.arrived(to);
    const probe = await this.send(to, { rate: 500 });
    await until(`packets at the ${to}`, () => this.arrived(to) > before);
    await this.dataplane.deletePort(probe);
    await this.untilQuiet();
  }

  /** Waits until nothing more arrives anywhere. */
  async untilQuiet(): Promise<void> {
    const count = (): number => this.dataplane.snapshot().totals.received;
    for (let before = -1; before !== count(); ) {
      before = count();
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  /** Adds the device again, with other settings where they are given. */
  addDevice(settings: object = {}): Promise<void> {
    return this.dataplane.addPort('device', { ...this.#device, ...settings });
  }

  /** Adds the driver again. */
  addDriver(): Promise<void> {
    return this.dataplane.addPort('driver', this.#driver);
  }
}

export async function until(what: string, isSo: () => boolean, timeoutMs = 10_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
