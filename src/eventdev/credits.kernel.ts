import { CREDITS_MAX, CREDITS_MIN, EVDEV_CREDITS, EVDEV_ON_LOAN, EVPORT_CREDITS, EVPORT_DEVICE } from './layout.ts';

/** Takes `wanted` credits from the port's stock, borrowing when it is too small. Returns false, taking none, when the pool is. */
export function takeCredits(port: u32, device: u32, wanted: u32): bool {
  let stock = load<u32>(port, EVPORT_CREDITS);
  if (stock < wanted) {
    const loan = max(wanted - stock, CREDITS_MIN);
    const limit = load<u32>(device, EVDEV_CREDITS);
    if (atomic.load<u32>(device, EVDEV_ON_LOAN) + loan > limit) return false;
    if (atomic.add<u32>(device, loan, EVDEV_ON_LOAN) + loan > limit) {
      // Another port took the last ones since they were counted.
      atomic.sub<u32>(device, loan, EVDEV_ON_LOAN);
      return false;
    }
    stock += loan;
  }
  store<u32>(port, stock - wanted, EVPORT_CREDITS);
  return true;
}

/** Puts credits of events that are finished back to the port's stock, and what it holds too many to the pool. */
export function giveCredits(port: u32, device: u32, credits: u32): void {
  let stock = load<u32>(port, EVPORT_CREDITS) + credits;
  if (stock > CREDITS_MAX) {
    atomic.sub<u32>(device, stock - CREDITS_MIN, EVDEV_ON_LOAN);
    stock = CREDITS_MIN;
  }
  store<u32>(port, stock, EVPORT_CREDITS);
}

/** Puts the whole stock back: those of idle ports would keep the loan over other ports' thresholds for ever. */
export function giveStock(port: u32): void {
  const stock = load<u32>(port, EVPORT_CREDITS);
  if (stock === 0) return;
  store<u32>(port, 0, EVPORT_CREDITS);
  atomic.sub<u32>(load<u32>(port, EVPORT_DEVICE), stock, EVDEV_ON_LOAN);
}
