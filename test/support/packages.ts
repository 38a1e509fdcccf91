import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DOWNLOAD_MS = 120_000;

function call(what: string, program: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(program, args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: DOWNLOAD_MS,
      maxBuffer: 16 << 20,
    });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new Error(`no ${what}: ${program}: ${stderr?.trim() || message}; run apt-get update first`);
  }
}

/** The package with the highest number among those that `pattern`, with the number as its first group, matches. */
export function newestPackage(what: string, prefix: string, pattern: RegExp): string {
  const [newest] = call(what, 'apt-cache', ['pkgnames', prefix], '/')
    .split('\n')
    .map((name) => pattern.exec(name))
    .filter((match) => match !== null)
    .sort((a, b) => Number(b[1]) - Number(a[1]));
  if (newest === undefined) throw new Error(`no ${what}: apt knows no ${pattern}; run apt-get update first`);
  return newest[0];
}

/**
 * Debian's packages `names`, unpacked and not installed: once, for all tests of all checkouts, by whichever comes first. Another
 * process may do the same: the first to rename its folder wins, and the loser's is removed. Throws when apt cannot.
 * @param what what they are, for the message: `kernel for guests`.
 * @param folder name of the folder; it is told apart by it whether they are there.
 * @returns the folder's path.
 */
export function unpackOnce(what: string, folder: string, names: () => readonly string[]): string {
  const path = join(tmpdir(), folder);
  if (existsSync(path)) return path;
  const work = mkdtempSync(`${path}-`);
  try {
    call(what, 'apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', ...names()], work);
    for (const file of readdirSync(work)) call(what, 'dpkg', ['-x', file, 'root'], work);
    renameSync(join(work, 'root'), path);
  } catch (error) {
    if (!existsSync(path)) throw error;
  } finally {
    rmSync(work, { recursive: true });
  }
  return path;
}
