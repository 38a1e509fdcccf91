/**
 * What Xen's part costs, in ns, as it follows from figures that Joao Martins published with the proposal of staging grants ("[RFC] netif:
 * staging grants for requests", xen-devel, 6 January 2017): packets a second of one queue, with grant copies and with staging. The
 * difference of their times is what the copy by grant took. Frozen: no figure is a reason to change them.
 */
export const XEN_COST = {
  /** Of 64 bytes from the guest: 1 / 1,506,170 less 1 / 3,759,012. */
  copyTx: 398,
  /** Of 64 bytes to the guest: 1 / 1,549,630 less 1 / 3,285,362. */
  copyRx: 341,
  /** A page mapped and unmapped: 1 / 577,782 (260 bytes, copied and mapped) less 1 / 1,295,001 (256 bytes, copied). */
  map: 959,
} as const;

/**
 * What of each of these only one CPU at a time does, in ns: at most what a packet took with four CPUs, in the same publication. With staging,
 * four CPUs did 3.3 to 3.6 times as much as one; where they did less, they stood here.
 */
export const XEN_SERIAL = {
  /** 1 / 4,988,563. */
  copyTx: 200,
  /** All of it: 1 / 2,870,947 is 348. */
  copyRx: 341,
  /** 1 / 1,668,044, of 260 bytes with 256 staged. */
  map: 600,
} as const;

/** The same, for a row's note. */
export const XEN_COST_TEXT = `${XEN_COST.copyTx} ns a copy from the guest, ${XEN_COST.copyRx} to it, ${XEN_COST.map} a map; of those ${XEN_SERIAL.copyTx}, ${XEN_SERIAL.copyRx} and ${XEN_SERIAL.map} by one CPU at a time`;
