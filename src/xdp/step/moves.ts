import type { Moment } from './recording.ts';

/** True when two moments are of one line in one function. Where there are no lines, each instruction is one. */
function isSameLine(a: Moment | undefined, b: Moment | undefined): boolean {
  if (a === undefined || b === undefined || a.depth !== b.depth || a.program !== b.program) return false;
  if (a.line === undefined || b.line === undefined) return a.pc === b.pc;
  return a.line.line === b.line.line && a.line.file === b.line.file;
}

/** Where moves in a run lead: numbers of moments. The end is one behind the last, where nothing runs any more. */
export class Moves {
  readonly #moments: readonly Moment[];

  constructor(moments: readonly Moment[]) {
    this.#moments = moments;
  }

  get end(): number {
    return this.#moments.length;
  }

  /** True where a line begins: it was not the last instruction's. */
  isLineStart(at: number): boolean {
    return at < this.end && !isSameLine(this.#moments[at], this.#moments[at - 1]);
  }

  /** The first moment behind `at` that `wanted` holds for; the end when there is none. */
  forward(at: number, wanted: (moment: Moment, at: number) => boolean): number {
    for (let next = at + 1; next < this.end; next++) if (wanted(this.#moments[next] as Moment, next)) return next;
    return this.end;
  }

  /** The last one before `at`; 0 when there is none. */
  backward(at: number, wanted: (moment: Moment, at: number) => boolean): number {
    for (let last = at - 1; last > 0; last--) if (wanted(this.#moments[last] as Moment, last)) return last;
    return 0;
  }

  /** To the next line, also that of a function that is called. */
  step(at: number): number {
    return this.forward(at, (moment) => !isSameLine(moment, this.#moments[at]));
  }

  /** To the next line of this function, or of the one that called it. */
  next(at: number): number {
    const depth = this.#depth(at);
    return this.forward(at, (moment) => moment.depth <= depth && !isSameLine(moment, this.#moments[at]));
  }

  /** To where the function has returned to. */
  finish(at: number): number {
    const depth = this.#depth(at);
    return this.forward(at, (moment) => moment.depth < depth);
  }

  /** To where this line begins, or the one before it. */
  stepBack(at: number): number {
    return this.backward(at, (_, last) => this.isLineStart(last));
  }

  /** The same, with functions that were called taken as one step. */
  nextBack(at: number): number {
    const depth = this.#depth(at);
    const isOurs = (moment: Moment): boolean => moment.depth <= depth;
    return this.backward(at, (moment, last) => {
      if (!isOurs(moment)) return false;
      const before = this.#moments[this.backward(last, isOurs)];
      return last > 0 && !isSameLine(moment, before);
    });
  }

  /** To the call of this function. */
  finishBack(at: number): number {
    const depth = this.#depth(at);
    return this.backward(at, (moment) => moment.depth < depth);
  }

  #depth(at: number): number {
    return this.#moments[Math.min(at, this.end - 1)]?.depth ?? 0;
  }
}
