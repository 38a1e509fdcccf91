import { type FileCoverage, totalOf } from './coverage.ts';

/** Coverage as lcov's tools read it (man 1 geninfo, section Tracefile format). */
export function formatLcov(files: readonly FileCoverage[]): string {
  const lines: string[] = [];
  for (const file of files) {
    const total = totalOf([file]);
    lines.push('TN:', `SF:${file.path}`);
    for (const { name, line } of file.functions) lines.push(`FN:${line},${name}`);
    for (const { name, runs } of file.functions) lines.push(`FNDA:${runs},${name}`);
    lines.push(`FNF:${total.functions[1]}`, `FNH:${total.functions[0]}`);
    for (const { line, branches } of file.lines) {
      for (const [block, { jumped, passed }] of branches.entries()) {
        // `-` says that the jump was never reached at all.
        const taken = (count: number): string => (jumped + passed === 0 ? '-' : `${count}`);
        lines.push(`BRDA:${line},${block},0,${taken(jumped)}`, `BRDA:${line},${block},1,${taken(passed)}`);
      }
    }
    lines.push(`BRF:${total.branches[1]}`, `BRH:${total.branches[0]}`);
    for (const { line, runs } of file.lines) lines.push(`DA:${line},${runs}`);
    lines.push(`LF:${total.lines[1]}`, `LH:${total.lines[0]}`, 'end_of_record');
  }
  return lines.map((line) => `${line}\n`).join('');
}
