import { ConfigSpace } from 'ringway/virtio';

/**
 * Virtio-input has no feature bits of its own (virtio 1.1, 5.8.3). Here it gets one, for fingers that are told apart.
 * Whatever changes in what a driver sees needs a bit; that is what keeps old and new working together.
 */
export const VIRTIO_INPUT_F = { MULTI_TOUCH: 0 };
export const INPUT_FEATURE_NAMES = { prefix: 'VIRTIO_INPUT_F_', bits: VIRTIO_INPUT_F };

/** Types and codes of Linux's input events (include/uapi/linux/input-event-codes.h), which 5.8.6 uses. */
export const EV = { SYN: 0, KEY: 1, ABS: 3 };
export const SYN_REPORT = 0;
export const BTN_TOUCH = 0x14a;
export const ABS = { X: 0, Y: 1, MT_SLOT: 0x2f, MT_POSITION_X: 0x35, MT_POSITION_Y: 0x36 };

/** struct virtio_input_event (5.8.6): type le16, code le16, value le32. */
export const EVENT_BYTES = 8;
export const EVENT_QUEUE = 0;

/** struct virtio_input_config (5.8.4): the driver selects, the device puts the answer and its size behind. */
export const CONFIG = { SELECT: 0, SUBSEL: 1, SIZE: 2, DATA: 8, BYTES: 136, EV_BITS: 0x11 };

/** An empty configuration space. */
export const makeConfig = () => new ConfigSpace(CONFIG.BYTES);
