/*
 * How a device gains a feature and nobody notices who need not: an input device that learns to tell fingers apart, and
 * drivers from before and after. Run it with `node examples/virtio-input/main.mjs`.
 */
import { createArena, RingwayError } from 'ringway/memory';
import { createRegionTable, VirtioDevice } from 'ringway/virtio';
import { InputDevice } from './device.mjs';
import { InputDriver } from './driver.mjs';

const FINGERS = [
  { x: 100, y: 200 },
  { x: 300, y: 400 },
];

/** One machine with one device; its driver is started, and two fingers touch the screen. */
function meet(driverOptions, deviceOptions) {
  const arena = createArena({ bytes: 1 << 20 });
  const regions = createRegionTable(arena, 'regions');
  const { base } = arena.handle;
  regions.set([{ guest: BigInt(base), bytes: arena.bytes - base, address: base }]);
  const screen = new InputDevice(arena, deviceOptions);
  const host = { usedBuffers: () => {}, configChanged: () => {} };
  const device = new VirtioDevice(arena, { name: 'screen', type: screen, regions, host });
  try {
    const driver = new InputDriver(arena, device, driverOptions);
    screen.touch(FINGERS);
    const [fingers] = driver.poll();
    const seen = fingers.map(({ x, y }) => `${x},${y}`).join(' and ');
    return `${driver.multiTouch ? 'multi-touch' : 'single touch'}: ${seen} (${InputDriver.axes(device).join(' ')})`;
  } catch (error) {
    if (!(error instanceof RingwayError)) throw error;
    return `${error.code}: ${error.message}\n${' '.repeat(26)}the device says: ${device.refusal}`;
  }
}

const drivers = { 'old driver': { multiTouch: false }, 'new driver': { multiTouch: true } };
const devices = {
  'old device': { multiTouch: false },
  'new device': { multiTouch: true },
  'strict device': { multiTouch: true, compatible: false },
};
for (const [deviceName, device] of Object.entries(devices)) {
  for (const [driverName, driver] of Object.entries(drivers)) {
    console.log(`${driverName}, ${deviceName}`.padEnd(26) + meet(driver, device));
  }
}
