// Files of transfers: `account,number,cents,memo,signature`, the numbers of an account from 1 on.
import { createHmac } from 'node:crypto';
import { closeSync, openSync, readSync, renameSync, writeSync } from 'node:fs';

const CHUNK = 1 << 16;
const MEMOS = ['rent', 'salary', 'bread and milk', 'Zürich–Köln, 2nd class', 'thank you'];
/** One line in so many is signed with another account's key. */
const FORGED_EVERY = 1009;

/** The signature of the rest of a line: a slow one, as those of banks are. */
export function sign(account, text) {
  let signature = text;
  for (let round = 0; round < 8; round++) {
    signature = createHmac('sha256', `key of ${account}`).update(signature).digest('base64url');
  }
  return signature;
}

/** Writes `lines` transfers of `accounts` accounts to `file`, the same each time. */
export function writeTransfers(file, lines, accounts) {
  const numbers = new Uint32Array(accounts);
  // Under its name only when it is whole.
  const fd = openSync(`${file}.part`, 'w');
  let state = 1;
  const random = (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  for (let line = 0; line < lines; ) {
    let text = '';
    for (; line < lines && text.length < CHUNK; line++) {
      // Few accounts have most transfers.
      const account = Math.min(random(accounts), random(accounts), random(accounts));
      const transfer = `${account},${++numbers[account]},${random(200_000) - 100_000},${MEMOS[random(MEMOS.length)]}`;
      const signer = line % FORGED_EVERY === 0 ? account + 1 : account;
      text += `${transfer},${sign(signer, transfer)}\n`;
    }
    writeSync(fd, text);
  }
  closeSync(fd);
  renameSync(`${file}.part`, file);
}

/** The lines of `file`, each with its account. */
export function* readTransfers(file) {
  const fd = openSync(file, 'r');
  const chunk = Buffer.alloc(CHUNK);
  let rest = Buffer.alloc(0);
  try {
    for (let n = readSync(fd, chunk); n > 0; n = readSync(fd, chunk)) {
      const bytes = Buffer.concat([rest, chunk.subarray(0, n)]);
      const end = bytes.lastIndexOf(10) + 1;
      // Cut at a line's end, so that no character is cut.
      for (const line of bytes.toString('utf8', 0, Math.max(0, end - 1)).split('\n')) {
        if (line !== '') yield { account: Number.parseInt(line, 10), line };
      }
      rest = Buffer.from(bytes.subarray(end));
    }
  } finally {
    closeSync(fd);
  }
}
