import { createChainList, featureMask, hasFeature, negotiate, setUpQueue, startDevice, VIRTIO_F } from 'ringway/virtio';
import { ABS, CONFIG, EV, EVENT_BYTES, EVENT_QUEUE, INPUT_FEATURE_NAMES, VIRTIO_INPUT_F } from './events.mjs';

const BUFFERS = 32;

/** Reads touches. The old driver was written before there was MULTI_TOUCH; the new one uses it where it is offered. */
export class InputDriver {
  multiTouch;
  #arena;
  #queue;
  #list;
  #records;
  /** Buffer of each chain that is out, by the chain's id. */
  #buffers = new Map();
  #fingers = [];
  #slot = 0;

  /** @throws RingwayError `UNSUPPORTED` when the device does not want this driver. */
  constructor(arena, transport, { multiTouch }) {
    const known = multiTouch ? featureMask(VIRTIO_INPUT_F.MULTI_TOUCH) : 0n;
    const features = negotiate(transport, {
      name: 'input driver',
      supported: known | featureMask(VIRTIO_F.VERSION_1),
      featureNames: INPUT_FEATURE_NAMES,
    });
    this.multiTouch = hasFeature(features, VIRTIO_INPUT_F.MULTI_TOUCH);
    this.#arena = arena;
    this.#queue = setUpQueue(arena, transport, { name: 'events', index: EVENT_QUEUE, features, size: BUFFERS }).driver;
    this.#list = createChainList(arena, { name: 'event chains', chains: 1, segments: 1 });
    this.#records = arena.allocate('event records', BUFFERS * 8);
    const memory = arena.allocate('event buffers', BUFFERS * EVENT_BYTES);
    for (let i = 0; i < BUFFERS; i++) this.#give(memory + i * EVENT_BYTES);
    startDevice(transport, 'input driver');
  }

  /** The axes that the device reports (5.8.4). */
  static axes(transport) {
    transport.writeConfig(CONFIG.SELECT, Uint8Array.of(CONFIG.EV_BITS, EV.ABS));
    const [bytes] = transport.readConfig(CONFIG.SIZE, 1);
    const bitmap = transport.readConfig(CONFIG.DATA, bytes);
    return Object.keys(ABS).filter((name) => ((bitmap[ABS[name] >> 3] ?? 0) >> (ABS[name] & 7)) & 1);
  }

  /** Touches since the last call: the fingers of each. */
  poll() {
    const touches = [];
    const n = this.#queue.poll(this.#records, BUFFERS);
    const { u16, u32 } = this.#arena;
    const buffers = [];
    for (let i = 0; i < n; i++) {
      const [id, length] = u32.subarray(this.#records / 4 + i * 2);
      const buffer = this.#buffers.get(id);
      if (length === EVENT_BYTES) this.#event(u16[buffer / 2], u16[buffer / 2 + 1], u32[buffer / 4 + 1], touches);
      buffers.push(buffer);
    }
    // Only now: a chain that is added may get the id of one that was polled.
    for (const buffer of buffers) this.#give(buffer);
    return touches;
  }

  /** Events that this driver does not know are passed over (5.8.6.1). */
  #event(type, code, value, touches) {
    const finger = () => {
      this.#fingers[this.#slot] ??= { x: 0, y: 0 };
      return this.#fingers[this.#slot];
    };
    if (type === EV.SYN) {
      touches.push(this.#fingers);
      this.#fingers = [];
      this.#slot = 0;
    } else if (type === EV.ABS && code === (this.multiTouch ? ABS.MT_POSITION_X : ABS.X)) {
      finger().x = value;
    } else if (type === EV.ABS && code === (this.multiTouch ? ABS.MT_POSITION_Y : ABS.Y)) {
      finger().y = value;
    } else if (type === EV.ABS && code === ABS.MT_SLOT && this.multiTouch && value < BUFFERS) {
      this.#slot = value;
    }
  }

  #give(buffer) {
    this.#list.clear();
    this.#list.push([], [{ address: buffer, length: EVENT_BYTES }]);
    this.#queue.add(this.#list, 1);
    this.#buffers.set(this.#list.id(0), buffer);
  }
}
