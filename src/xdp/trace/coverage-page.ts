import { escapeMarkup } from '../../util/markup.ts';
import { type CoverageTotal, type FileCoverage, type LineCoverage, totalOf } from './coverage.ts';
import { sourceLines } from './source.ts';

const STYLE = `
:root { color-scheme: light dark; --ran: #2da44e33; --part: #d4a72c55; --not: #cf222e44; }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: 0 0.75rem; text-align: left; }
.files td + td, .files th + th, .source td:nth-child(-n + 2) { text-align: right; font-variant-numeric: tabular-nums; }
.source { font: 13px/1.45 ui-monospace, monospace; width: 100%; tab-size: 8; }
.source td:last-child { white-space: pre; width: 100%; }
.source td:nth-child(-n + 3) { opacity: 0.7; white-space: nowrap; }
.ran { background: var(--ran); } .part { background: var(--part); } .not { background: var(--not); }
`;

const share = ([covered, all]: readonly [number, number]): string =>
  all === 0 ? '-' : `${((covered / all) * 100).toFixed(1)} % (${covered}/${all})`;

const cells = ({ lines, branches, functions }: CoverageTotal): string =>
  [lines, branches, functions].map((each) => `<td>${share(each)}</td>`).join('');

/** `3/4`: of the ways that the branches of a line have, those that were taken. */
const waysOf = ({ branches }: LineCoverage): [number, number] => {
  const ways = branches.flatMap(({ jumped, passed }) => [jumped, passed]);
  return [ways.filter((count) => count > 0).length, ways.length];
};

function row(number: number, text: string, line: LineCoverage | undefined): string {
  if (line === undefined) return `<tr><td>${number}</td><td></td><td></td><td>${escapeMarkup(text)}</td></tr>`;
  const [taken, all] = waysOf(line);
  const state = line.runs === 0 ? 'not' : taken < all ? 'part' : 'ran';
  const ways = all === 0 ? '<td></td>' : `<td title="ways that branches went">${taken}/${all}</td>`;
  const left = `<td>${number}</td><td>${line.runs}</td>${ways}`;
  return `<tr class="${state}">${left}<td>${escapeMarkup(text)}</td></tr>`;
}

function fileSection(file: FileCoverage, id: string): string {
  const byLine = new Map(file.lines.map((line) => [line.line, line]));
  // Without the file there are the lines that the object has.
  const source = sourceLines(file.path)?.map((text, index) => [index + 1, text] as const);
  const lines = source ?? file.lines.map(({ line, text }) => [line, text] as const);
  const rows = lines.map(([number, text]) => row(number, text, byLine.get(number)));
  return `<h2 id="${id}">${escapeMarkup(file.path)}</h2>\n<table class="source">\n${rows.join('\n')}\n</table>\n`;
}

/** Coverage as one page of HTML: a table of files, then each with its lines, times that they ran, and ways of branches. */
export function coveragePage(files: readonly FileCoverage[]): string {
  const rows = files.map(
    (file, index) => `<tr><td><a href="#f${index}">${escapeMarkup(file.path)}</a></td>${cells(totalOf([file]))}</tr>`,
  );
  const total = `<tr><th>all</th>${cells(totalOf(files))}</tr>`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Coverage of XDP programs</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Coverage of XDP programs</h1>
<table class="files">
<tr><th>file</th><th>lines</th><th>branches</th><th>functions</th></tr>
${rows.join('\n')}
${total}
</table>
${files.map((file, index) => fileSection(file, `f${index}`)).join('')}</body>
</html>
`;
}
