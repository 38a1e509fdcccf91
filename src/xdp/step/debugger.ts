import { RingwayError } from '../../util/errors.ts';
import { nearest } from '../../util/nearest.ts';
import { mapNamed } from '../spec/map-entries.ts';
import { type Breakpoint, breakpointAt } from './breakpoints.ts';
import { Moves } from './moves.ts';
import type { Moment, Recording } from './recording.ts';
import { MemoryView } from './show.ts';

/** What a command does with its argument: lines to show. */
interface Command {
  readonly short: string;
  readonly argument?: string;
  readonly help: string;
  run(argument: string): string[];
}

/** How often a command without a number moves. */
const TIMES_MAX = 1_000_000;

/**
 * A debugger over one run: commands as text, what they show as lines. Commands and their short forms are gdb's where it has
 * such.
 */
export class XdpDebugger {
  readonly #recording: Recording;
  readonly #moves: Moves;
  readonly #view: MemoryView;
  readonly #breakpoints: Breakpoint[] = [];
  readonly #commands: Readonly<Record<string, Command>>;
  #at = 0;
  #registers: BigUint64Array | undefined;
  #numbers = 0;

  /** @param object path of the program's object file. */
  constructor(recording: Recording, object: string) {
    this.#recording = recording;
    this.#moves = new Moves(recording.moments);
    this.#view = new MemoryView(recording.program, object);
    this.#commands = this.#makeCommands();
    this.#registers = recording.goTo(0);
  }

  #makeCommands(): Record<string, Command> {
    const moves = this.#moves;
    const move = (short: string, help: string, next: (at: number) => number): Command => ({
      short,
      argument: '[TIMES]',
      help,
      run: (times) => this.#move(times, next),
    });
    const isStop = (moment: Moment, at: number): boolean => this.#breakpoints.some((each) => each.matches(moment, at));
    return {
      step: move('s', 'go to the next line, also of a function that is called', (at) => moves.step(at)),
      next: move('n', 'go to the next line of this function', (at) => moves.next(at)),
      stepi: move('si', 'go to the next instruction', (at) => Math.min(at + 1, moves.end)),
      finish: move('f', 'go to where this function returns to', (at) => moves.finish(at)),
      continue: move('c', 'go to the next breakpoint, or the end', (at) => moves.forward(at, isStop)),
      'reverse-step': move('rs', 'go back to where this line began, or the one before', (at) => moves.stepBack(at)),
      'reverse-next': move('rn', 'the same, with calls as one step', (at) => moves.nextBack(at)),
      'reverse-stepi': move('rsi', 'go back one instruction', (at) => Math.max(at - 1, 0)),
      'reverse-finish': move('rf', 'go back to the call of this function', (at) => moves.finishBack(at)),
      'reverse-continue': move('rc', 'go back to the last breakpoint, or the start', (at) =>
        moves.backward(at, isStop),
      ),
      break: {
        short: 'b',
        argument: 'PLACE',
        help: 'stop at a line (41, headers.h:24), a function or an instruction (*12); list all',
        run: (place) => this.#break(place),
      },
      delete: { short: 'd', argument: 'NUMBER', help: 'forget a breakpoint', run: (number) => this.#delete(number) },
      registers: { short: 'r', help: 'show r0 to r10, and what they point to', run: () => this.#showRegisters() },
      stack: {
        short: 'k',
        help: "show this function's stack",
        run: () => this.#running((moment) => this.#view.stack(moment)),
      },
      packet: { short: 'p', help: 'show the packet', run: () => this.#view.packet() },
      maps: { short: 'm', argument: '[NAME]', help: 'show all maps, or one', run: (name) => this.#maps(name) },
      backtrace: { short: 'bt', help: 'show which functions were called from where', run: () => this.#backtrace() },
      list: {
        short: 'l',
        help: 'show the source around here',
        run: () => this.#running((moment) => this.#view.list(moment)),
      },
      where: { short: 'w', help: 'show where the run is', run: () => this.where() },
      help: { short: 'h', help: 'show this', run: () => this.#help() },
    };
  }

  /**
   * Does a command. Returns what it shows.
   * @throws RingwayError `BAD_ARGUMENT` when there is none, or it cannot.
   */
  do(line: string): string[] {
    const [, word = '', argument = ''] = /^\s*(\S*)\s*(.*?)\s*$/.exec(line) ?? [];
    if (word === '') return [];
    const names = Object.keys(this.#commands);
    const name = names.find((each) => each === word || this.#commands[each]?.short === word);
    if (name === undefined) {
      const near = nearest(word, names);
      const hint = near === undefined ? 'help lists them' : `did you mean ${near}?`;
      throw new RingwayError('BAD_ARGUMENT', `${JSON.stringify(word)} is no command; ${hint}`);
    }
    return this.#commands[name]?.run(argument) ?? [];
  }

  /** Where the run is, with the line and instruction that come next. */
  where(): string[] {
    const moment = this.#recording.moments[this.#at];
    if (moment !== undefined) {
      const of = `instruction ${this.#at + 1} of ${this.#moves.end}`;
      return [`${this.#view.place(moment)}, ${of}`, ...this.#view.here(moment)];
    }
    const { action, fault, redirect, log } = this.#recording.result;
    const why = fault === undefined ? '' : `: it ${fault.reason}, at ${fault.place}`;
    const target = redirect === undefined ? '' : ` to ${redirect.to} ${redirect.target}`;
    return [
      `the end, after ${this.#moves.end} instructions: ${action}${target}${why}`,
      ...log.map((said) => `said: ${said}`),
    ];
  }

  #move(times: string, next: (at: number) => number): string[] {
    if (times !== '' && !(/^\d+$/.test(times) && Number(times) >= 1 && Number(times) <= TIMES_MAX)) {
      throw new RingwayError('BAD_ARGUMENT', `${JSON.stringify(times)} is no number of times, 1 to ${TIMES_MAX}`);
    }
    for (let left = Number(times || 1); left > 0; left--) {
      const to = next(this.#at);
      if (to === this.#at) break;
      this.#at = to;
    }
    this.#registers = this.#recording.goTo(this.#at);
    return this.where();
  }

  /** Shows something of the instruction that runs; in the end there is none. */
  #running(show: (moment: Moment) => string[]): string[] {
    const moment = this.#recording.moments[this.#at];
    if (moment !== undefined) return show(moment);
    throw new RingwayError('BAD_ARGUMENT', 'the run is at its end; go back first, with reverse-step');
  }

  #break(place: string): string[] {
    if (place === '') {
      const all = this.#breakpoints.map(({ number, text }) => `${number}: ${text}`);
      return all.length === 0 ? ['no breakpoints'] : all;
    }
    const here = this.#recording.moments[Math.min(this.#at, this.#moves.end - 1)] as Moment;
    const { programs } = this.#recording.program;
    const breakpoint = breakpointAt(place, this.#numbers + 1, programs, here, this.#moves);
    this.#numbers++;
    this.#breakpoints.push(breakpoint);
    return [`${breakpoint.number}: ${place}`];
  }

  #delete(number: string): string[] {
    const index = this.#breakpoints.findIndex((each) => String(each.number) === number);
    if (index < 0)
      throw new RingwayError('BAD_ARGUMENT', `delete ${number}: there is no such breakpoint; break lists them`);
    this.#breakpoints.splice(index, 1);
    return [];
  }

  #showRegisters(): string[] {
    return this.#running((moment) => this.#view.registers(this.#registers ?? new BigUint64Array(11), moment));
  }

  #maps(name: string): string[] {
    const { program } = this.#recording;
    if (name === '') return Object.keys(program.maps).flatMap((each) => this.#view.map(each));
    mapNamed(program, name, 'maps');
    return this.#view.map(name);
  }

  /** Each function that runs with where it is; the innermost first. */
  #backtrace(): string[] {
    return this.#running((moment) => {
      const frames = [moment];
      for (let at = this.#at; (frames.at(-1)?.depth ?? 0) > 0; ) {
        at = this.#moves.finishBack(at);
        frames.push(this.#recording.moments[at] as Moment);
      }
      return frames.map((frame, index) => `#${index} ${this.#view.place(frame)}`);
    });
  }

  #help(): string[] {
    return Object.entries(this.#commands).map(([name, { short, argument = '', help }]) => {
      return `${`${name}, ${short} ${argument}`.trim().padEnd(30)} ${help}`;
    });
  }
}
