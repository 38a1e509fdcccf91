// The handler of the pool's workers; `run.mjs` calls it too, to compare.
import { sign } from './transfers.mjs';

export default function check({ account, line }) {
  const comma = line.lastIndexOf(',');
  const transfer = line.slice(0, comma);
  const [, number, cents] = transfer.split(',', 3);
  return {
    account,
    number: Number(number),
    cents: Number(cents),
    valid: sign(account, transfer) === line.slice(comma + 1),
  };
}
