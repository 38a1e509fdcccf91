import {
  VQ_BROKEN_ADDRESS,
  VQ_BROKEN_CHAIN,
  VQ_BROKEN_ID,
  VQ_BROKEN_ID_STATE,
  VQ_BROKEN_INDEX,
  VQ_BROKEN_INDIRECT,
  VQ_BROKEN_INFLIGHT,
  VQ_BROKEN_LENGTH,
  VQ_BROKEN_NEXT,
  VQ_BROKEN_ORDER,
} from './layout.ts';

const RULES: ReadonlyMap<number, string> = new Map([
  [VQ_BROKEN_INDEX, 'an index moved by more than the ring holds'],
  [VQ_BROKEN_ID, 'an id or a head that the ring does not have'],
  [VQ_BROKEN_ID_STATE, 'an id that is out already, or was never given'],
  [VQ_BROKEN_CHAIN, 'a chain that is longer than may be, or a loop'],
  [VQ_BROKEN_NEXT, 'a next descriptor outside the table'],
  [VQ_BROKEN_ADDRESS, "an address outside the driver's memory"],
  [VQ_BROKEN_ORDER, 'a readable buffer behind a writable one'],
  [VQ_BROKEN_INDIRECT, 'an indirect table that may not be there'],
  [VQ_BROKEN_LENGTH, 'a length that does not fit its buffers'],
  [VQ_BROKEN_INFLIGHT, 'a link of the inflight region that leads nowhere'],
]);

/** The rule that a queue's peer broke, in words; undefined for 0, which stands for none. */
export function brokenRuleText(code: number): string | undefined {
  return code === 0 ? undefined : (RULES.get(code) ?? `rule ${code}`);
}
