import { createChainList, featureMask, hasFeature } from 'ringway/virtio';
import {
  ABS,
  BTN_TOUCH,
  CONFIG,
  EV,
  EVENT_BYTES,
  EVENT_QUEUE,
  INPUT_FEATURE_NAMES,
  makeConfig,
  SYN_REPORT,
  VIRTIO_INPUT_F,
} from './events.mjs';

const QUEUE_SIZE = 32;
/** A chain that comes in a table may have more segments than the queue has descriptors. */
const SEGMENTS = 64;

/** A touch screen. The old one knows one finger; the new one offers MULTI_TOUCH. */
export class InputDevice {
  name = 'input';
  id = 18;
  featureNames = INPUT_FEATURE_NAMES;
  rules = [];
  config = makeConfig();
  /** Touches that found no room with the driver. */
  dropped = 0;
  #arena;
  #compatible;
  #multiTouch = false;
  #queue;
  #session;
  #list;
  #records;
  #ready = [];

  /** `compatible`: go on as the old device did when the driver does not know MULTI_TOUCH. */
  constructor(arena, { multiTouch, compatible = true }) {
    this.features = multiTouch ? featureMask(VIRTIO_INPUT_F.MULTI_TOUCH) : 0n;
    this.#arena = arena;
    this.#compatible = compatible;
    this.#list = createChainList(arena, { name: 'input chains', chains: QUEUE_SIZE, segments: SEGMENTS });
    this.#records = arena.allocate('input records', QUEUE_SIZE * 8);
  }

  queues() {
    return [QUEUE_SIZE];
  }

  /** A reason leaves FEATURES_OK clear, and the driver finds that out (virtio 1.1, 2.2.2). */
  validate(features) {
    const isOldDriver = !hasFeature(features, VIRTIO_INPUT_F.MULTI_TOUCH);
    return isOldDriver && !this.#compatible ? 'this screen reports nothing but multi-touch' : undefined;
  }

  /** What was negotiated decides which device this is from here on. */
  start(features, queues, session) {
    this.#multiTouch = hasFeature(features, VIRTIO_INPUT_F.MULTI_TOUCH);
    this.#queue = queues[EVENT_QUEUE];
    this.#session = session;
  }

  stop() {
    this.#queue = undefined;
    this.#ready = [];
  }

  /** The driver asks which events there are; an old one is not told of new ones. */
  writeConfig(offset, data, features) {
    if (offset > CONFIG.SUBSEL || offset + data.length > CONFIG.SIZE) return false;
    this.config.update((fields) => {
      data.forEach((byte, i) => {
        fields.setUint8(offset + i, byte);
      });
      for (let at = CONFIG.SIZE; at < CONFIG.BYTES; at++) fields.setUint8(at, 0);
      const isAxes = fields.getUint8(CONFIG.SELECT) === CONFIG.EV_BITS && fields.getUint8(CONFIG.SUBSEL) === EV.ABS;
      if (!isAxes) return;
      const axes = hasFeature(features, VIRTIO_INPUT_F.MULTI_TOUCH) ? Object.values(ABS) : [ABS.X, ABS.Y];
      for (const axis of axes) {
        const at = CONFIG.DATA + (axis >> 3);
        fields.setUint8(at, fields.getUint8(at) | (1 << (axis & 7)));
        fields.setUint8(CONFIG.SIZE, Math.max(fields.getUint8(CONFIG.SIZE), (axis >> 3) + 1));
      }
    }, false);
    return true;
  }

  /** Fingers touch the screen: all of them are reported, or the first as the old device did. */
  touch(fingers) {
    const events = this.#multiTouch
      ? fingers.flatMap(({ x, y }, slot) => [
          [EV.ABS, ABS.MT_SLOT, slot],
          [EV.ABS, ABS.MT_POSITION_X, x],
          [EV.ABS, ABS.MT_POSITION_Y, y],
        ])
      : fingers.slice(0, 1).flatMap(({ x, y }) => [
          [EV.ABS, ABS.X, x],
          [EV.ABS, ABS.Y, y],
          [EV.KEY, BTN_TOUCH, 1],
        ]);
    this.#send([...events, [EV.SYN, SYN_REPORT, 0]]);
  }

  /** One buffer an event; all of a report or nothing of it (5.8.6.2). */
  #send(events) {
    if (this.#queue === undefined) return;
    const n = this.#queue.take(this.#list, QUEUE_SIZE);
    for (let i = 0; i < n; i++) this.#ready.push(this.#list.at(i));
    if (this.#ready.length < events.length) {
      this.dropped++;
      return;
    }
    const { u16, u32 } = this.#arena;
    events.forEach(([type, code, value], i) => {
      const { id, writable } = this.#ready.shift();
      const fits = writable[0] !== undefined && writable[0].length >= EVENT_BYTES && writable[0].address % 4 === 0;
      if (fits) {
        u16.set([type, code], writable[0].address / 2);
        u32[writable[0].address / 4 + 1] = value;
      }
      u32.set([id, fits ? EVENT_BYTES : 0], this.#records / 4 + i * 2);
    });
    this.#queue.return(this.#records, events.length);
    if (this.#queue.needsNotify()) this.#session.usedBuffers(EVENT_QUEUE);
  }
}
