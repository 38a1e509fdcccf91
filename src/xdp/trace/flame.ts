import { escapeMarkup } from '../../util/markup.ts';
import type { CallNode } from './profile.ts';

/** A rectangle of the graph. */
interface Box {
  readonly name: string;
  readonly tip: string;
  readonly instructions: number;
  readonly inside: readonly Box[];
}

const WIDTH = 1200;
const ROW = 18;
const MARGIN = 10;
/** Narrower boxes are left out: nobody could see them. */
const WIDTH_MIN = 0.3;
/** Width of a character of the labels. */
const CHARACTER = 6.6;

function boxOf(node: CallNode): Box {
  const lines = [...node.lines.values()].map(
    ({ place, text, instructions }): Box => ({
      name: place.replace(/^.*\//, ''),
      tip: text === '' ? place : `${place}: ${text}`,
      instructions,
      inside: [],
    }),
  );
  const inside = [...lines, ...[...node.children.values()].map(boxOf)].sort((a, b) => b.instructions - a.instructions);
  const instructions = inside.reduce((sum, box) => sum + box.instructions, 0);
  return { name: node.name, tip: node.name, instructions, inside };
}

const depthOf = ({ inside }: Box): number => 1 + Math.max(0, ...inside.map(depthOf));

/** Warm colours, which a name always has the same of. */
function colourOf(name: string): string {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.charCodeAt(0)) % 9973;
  return `hsl(${10 + (hash % 45)} ${70 + (hash % 20)}% ${58 + (hash % 14)}%)`;
}

/** A flame graph as SVG: functions by their calls, and their lines on top; widths are instructions. */
export function flameGraph(roots: readonly CallNode[]): string {
  const inside = roots.map(boxOf).sort((a, b) => b.instructions - a.instructions);
  const instructions = inside.reduce((sum, box) => sum + box.instructions, 0);
  const all: Box = { name: 'all', tip: 'all', instructions, inside };
  const height = depthOf(all) * ROW + MARGIN * 2;
  const scale = instructions === 0 ? 0 : (WIDTH - MARGIN * 2) / instructions;
  const parts: string[] = [];
  const draw = (box: Box, x: number, depth: number): void => {
    const width = box.instructions * scale;
    if (width < WIDTH_MIN) return;
    const y = height - MARGIN - (depth + 1) * ROW;
    const share = ((box.instructions / instructions) * 100).toFixed(1);
    const tip = escapeMarkup(`${box.tip} (${box.instructions} instructions, ${share} %)`);
    const room = Math.floor((width - 6) / CHARACTER);
    const label = box.name.length <= room ? box.name : room < 4 ? '' : `${box.name.slice(0, room - 1)}…`;
    const text = label === '' ? '' : `<text x="${(x + 3).toFixed(1)}" y="${y + 13}">${escapeMarkup(label)}</text>`;
    const rectangle = `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="${colourOf(box.name)}"/>`;
    parts.push(`<g><title>${tip}</title>${rectangle}${text}</g>`);
    let left = x;
    for (const each of box.inside) {
      draw(each, left, depth + 1);
      left += each.instructions * scale;
    }
  };
  draw(all, MARGIN, 0);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="ui-monospace, monospace" font-size="11">
<title>Instructions by function and line</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${parts.join('\n')}
</svg>
`;
}
