/** What the commands write to: standard output, or a test's. */
export interface Terminal {
  /** True when people watch: tables are redrawn in place. */
  readonly isTty: boolean;
  readonly hasColor: boolean;
  /** Size in characters, as it is now. */
  size(): { columns: number; rows: number };
  write(text: string): void;
  /** For errors and notes. */
  note(text: string): void;
}

/** Standard output and standard error. Colours on a terminal only, and not when NO_COLOR is set (no-color.org). */
export function processTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  const isTty = stdout.isTTY === true && env.TERM !== 'dumb';
  return {
    isTty,
    hasColor: isTty && (env.NO_COLOR === undefined || env.NO_COLOR === ''),
    size: () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }),
    write: (text) => void stdout.write(text),
    note: (text) => void stderr.write(text),
  };
}

/** Text of strangers without what a terminal would obey: a packet's bytes, a program's messages are anybody's. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed.
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '.');
}

/** How text is marked; every function returns it unchanged when there is no colour. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

/** ECMA-48, SGR. */
export function styleOf(hasColor: boolean): Style {
  const mark = (on: number, off: number) => (text: string) =>
    hasColor && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  return { bold: mark(1, 22), dim: mark(2, 22), red: mark(31, 39), green: mark(32, 39), yellow: mark(33, 39) };
}

/** Redraws some lines in place. */
export class Screen {
  readonly #terminal: Terminal;
  #lines = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Shows `lines` where the last ones were, cut to the height of the terminal. */
  draw(lines: readonly string[]): void {
    const shown = lines.slice(0, Math.max(1, this.#terminal.size().rows - 1));
    const hide = this.#lines === 0 ? '\u001b[?25l' : '';
    this.#terminal.write(`${hide}${this.#home()}${shown.map((line) => `${line}\n`).join('')}`);
    this.#lines = shown.length;
  }

  /** Removes them and shows the cursor again. */
  clear(): void {
    if (this.#lines > 0) this.#terminal.write(`${this.#home()}\u001b[?25h`);
    this.#lines = 0;
  }

  /** Up to the first line, and everything from there cleared. */
  #home(): string {
    return this.#lines === 0 ? '' : `\u001b[${this.#lines}A\r\u001b[J`;
  }
}
