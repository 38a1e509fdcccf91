// What workers of all pools do with a message in the bench: a module for KeyedPool, piscina and tinypool alike.

/** A trade: 100 bytes as a struct. */
export const MESSAGE = {
  account: 'u32',
  number: 'u32',
  time: 'f64',
  price: 'f64',
  amount: 'f64',
  fee: 'f64',
  balance: 'f64',
  limit: 'f64',
  bid: 'f64',
  ask: 'f64',
  rate: 'f64',
  symbol: { utf8: 18 },
} as const;
/** What comes back. */
export const RESULT = { account: 'u32', number: 'u32' } as const;

/** The trivial handler. */
export default function handle({ account, number }: { account: number; number: number }) {
  return { account, number };
}
