import { escapeMarkup } from '../util/markup.ts';
import type { SpecResult } from '../xdp/spec/run-spec.ts';
import { printable, type Style } from './terminal.ts';

/** How the results of tests are written. A format is told of each result as it comes, and of the end. */
export interface Reporter {
  result(result: SpecResult): readonly string[];
  end(results: readonly SpecResult[]): readonly string[];
}

const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** What was wrong, a line for each part of it. */
function failureLines({ failures }: SpecResult): string[] {
  return failures.flatMap(({ place, message, details }) => [
    printable(`${place}: ${message}`),
    ...details.map((line) => `    ${printable(line)}`),
  ]);
}

/** For people: a line a test, and under those that failed why. */
function readable(style: Style): Reporter {
  let last: string | undefined;
  return {
    result(result) {
      const { file, name, failures } = result;
      const head = file === last ? [] : [printable(file)];
      last = file;
      const mark = failures.length === 0 ? style.green('ok  ') : style.red('FAIL');
      return [...head, `  ${mark}  ${printable(name)}`, ...failureLines(result).map((line) => `        ${line}`)];
    },
    end(results) {
      const failed = results.filter(({ failures }) => failures.length > 0).length;
      const packets = results.reduce((sum, result) => sum + result.packets, 0);
      const counts = `${plural(results.length, 'test')}, ${plural(packets, 'packet')}`;
      return [failed === 0 ? style.green(`${counts}: all passed`) : style.red(`${counts}: ${failed} failed`)];
    },
  };
}

/** TAP version 14 (testanything.org). The plan may come last. */
function tap(): Reporter {
  let number = 0;
  return {
    result(result) {
      const head = number === 0 ? ['TAP version 14'] : [];
      // `#` begins a directive.
      const name = printable(`${result.file}: ${result.name}`).replaceAll(/[\\#]/g, '\\$&');
      const isOk = result.failures.length === 0;
      const lines = [...head, `${isOk ? 'ok' : 'not ok'} ${++number} - ${name}`];
      if (isOk) return lines;
      return [...lines, '  ---', '  message: |', ...failureLines(result).map((line) => `    ${line}`), '  ...'];
    },
    end: (results) => [`1..${results.length}`],
  };
}

/** JUnit's XML, as build servers read it: a suite a file. */
function junit(): Reporter {
  return {
    result: () => [],
    end(results) {
      const files = [...new Set(results.map(({ file }) => file))];
      const failed = (list: readonly SpecResult[]): number => list.filter(({ failures }) => failures.length > 0).length;
      const counts = (list: readonly SpecResult[]): string => `tests="${list.length}" failures="${failed(list)}"`;
      const test = (result: SpecResult): string[] => {
        const { file, name, failures } = result;
        const head = `    <testcase name="${escapeMarkup(printable(name))}" classname="${escapeMarkup(printable(file))}"`;
        const [first] = failures;
        if (first === undefined) return [`${head}/>`];
        const text = failureLines(result).map(escapeMarkup).join('\n');
        const message = escapeMarkup(printable(first.message));
        return [`${head}>`, `      <failure message="${message}">${text}</failure>`, '    </testcase>'];
      };
      const suites = files.flatMap((file) => {
        const those = results.filter((result) => result.file === file);
        const name = escapeMarkup(printable(file));
        return [`  <testsuite name="${name}" ${counts(those)}>`, ...those.flatMap(test), '  </testsuite>'];
      });
      return ['<?xml version="1.0" encoding="UTF-8"?>', `<testsuites ${counts(results)}>`, ...suites, '</testsuites>'];
    },
  };
}

/** The reporters by name. */
export const REPORTERS: Readonly<Record<string, (style: Style) => Reporter>> = { readable, tap, junit };
