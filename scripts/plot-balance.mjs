// Makes docs/eventdev-*.svg: how the event device spreads load over two ports, in virtual time, so that the same build
// always draws the same. `node scripts/plot-balance.mjs [FOLDER] [NAME…]`, after a build.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXPERIMENTS, runExperiment } from '../build/lab/balance-bench.js';

const WIDTH = 760;
const LEFT = 66;
const RIGHT = 14;
const PANEL = 150;
const ABOVE = 40;
const BETWEEN = 44;
const BELOW = 46;
/** Samples are put together over so many pixels. */
const BIN = 1.5;
const NS_PER_MS = 1e6;
/** Told apart by those who see few colours, too (Okabe and Ito, "Color Universal Design", 2008). */
const BLUE = '#0072b2';
const ORANGE = '#d55e00';

const loads = (samples) => [
  { name: 'load of port 0', color: BLUE, points: samples.map(({ ns, loads }) => [ns / NS_PER_MS, 100 * loads[0]]) },
  { name: 'load of port 1', color: ORANGE, points: samples.map(({ ns, loads }) => [ns / NS_PER_MS, 100 * loads[1]]) },
];
const moved = (name, color, samples) => ({
  name,
  color,
  points: samples.map(({ ns, moved }) => [ns / NS_PER_MS, moved]),
});

const LOAD_AXIS = { unit: 'load, %', top: 100, step: 25 };

function plotEven() {
  const [group, single] = [EXPERIMENTS.even, EXPERIMENTS.evenSingly].map((one) => runExperiment(one));
  return {
    title: 'All flows at port 0; then port 1 is linked too (load in all: 160 % of a port)',
    time: { from: 1, to: 3000, isLog: true },
    panels: [
      { title: 'flow-group', axis: LOAD_AXIS, lines: loads(group) },
      { title: 'single-flow', axis: LOAD_AXIS, lines: loads(single) },
      {
        title: 'moves',
        axis: { unit: 'flows moved so far' },
        lines: [moved('flow-group', BLUE, group), moved('single-flow', ORANGE, single)],
      },
    ],
  };
}

function plotOne(title, experiment, toMs) {
  const samples = runExperiment(experiment).filter(({ ns }) => ns <= toMs * NS_PER_MS);
  return {
    title,
    time: { from: 0, to: toMs, isLog: false },
    panels: [
      { title: 'flow-group', axis: LOAD_AXIS, lines: loads(samples) },
      { title: 'moves', axis: { unit: 'flows moved so far' }, lines: [moved('flow-group', BLUE, samples)] },
    ],
  };
}

const PLOTS = {
  even: plotEven,
  'slow-start': () =>
    plotOne(
      'Eight flows of port 0 send twice as much every 10 ms, up to 70 % of a port together',
      EXPERIMENTS.slowStart,
      400,
    ),
  bursts: () =>
    plotOne(
      'Three flows in turn send twice as much for 5 ms (60 %, the others 30 % of a port)',
      EXPERIMENTS.bursts,
      120,
    ),
};

const round = (value) => Number(value.toFixed(1));

/** A step of 1, 2 or 5 times a power of ten, so that `top` takes at most six of them. */
function niceStep(top) {
  const power = 10 ** Math.floor(Math.log10(top / 6));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => top / step <= 6) ?? 10 * power;
}

/** Where milliseconds are across. */
function timeScale({ from, to, isLog }) {
  const of = isLog ? Math.log10 : (ms) => ms;
  const width = WIDTH - LEFT - RIGHT;
  return (ms) => LEFT + ((of(ms) - of(from)) / (of(to) - of(from))) * width;
}

/** The mean of each bin of pixels that has samples. */
function binned(points, x, y) {
  const bins = new Map();
  for (const [ms, value] of points) {
    const bin = Math.floor(x(ms) / BIN);
    const { n, sum, at } = bins.get(bin) ?? { n: 0, sum: 0, at: 0 };
    bins.set(bin, { n: n + 1, sum: sum + value, at: at + x(ms) });
  }
  return [...bins.values()].map(({ n, sum, at }) => `${round(at / n)},${round(y(sum / n))}`).join(' ');
}

const text = (x, y, anchor, content, rest = '') =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"${rest}>${content}</text>`;
const rule = (x1, y1, x2, y2) =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="#d8d8d8"/>`;

function timeTicks({ from, to, isLog }) {
  if (isLog) return [1, 3, 10, 30, 100, 300, 1000, 3000].filter((ms) => ms >= from && ms <= to);
  const step = niceStep(to);
  return Array.from({ length: Math.floor(to / step) + 1 }, (_, i) => i * step);
}

function legend(lines, top) {
  const out = [];
  let right = WIDTH - RIGHT;
  for (const { name, color } of [...lines].reverse()) {
    out.push(text(right, top - 7, 'end', name));
    right -= 6.6 * name.length + 6;
    out.push(
      `<line x1="${round(right - 18)}" y1="${top - 11}" x2="${round(right)}" y2="${top - 11}" stroke="${color}" stroke-width="3"/>`,
    );
    right -= 36;
  }
  return out;
}

function drawPanel({ title, axis, lines }, top, time, isLast) {
  const x = timeScale(time);
  const inside = lines.map(({ points, ...line }) => ({
    ...line,
    points: points.filter(([ms]) => ms >= time.from && ms <= time.to),
  }));
  const most = Math.max(1, ...inside.flatMap(({ points }) => points.map(([, value]) => value)));
  const step = axis.step ?? niceStep(most);
  const end = axis.top ?? Math.ceil(most / step) * step;
  const bottom = top + PANEL;
  const y = (value) => bottom - (value / end) * PANEL;
  const out = [text(LEFT, top - 7, 'start', title, ' font-weight="bold"'), ...legend(lines, top)];
  for (let value = 0; value <= end; value += step) {
    out.push(rule(LEFT, y(value), WIDTH - RIGHT, y(value)), text(LEFT - 6, y(value) + 4, 'end', value));
  }
  for (const ms of timeTicks(time)) {
    out.push(rule(x(ms), top, x(ms), bottom));
    if (isLast) out.push(text(x(ms), bottom + 16, 'middle', ms));
  }
  const middle = top + PANEL / 2;
  out.push(text(14, middle, 'middle', axis.unit, ` transform="rotate(-90 14 ${middle})"`));
  for (const { points, color } of inside) {
    out.push(`<polyline fill="none" stroke="${color}" stroke-width="1.4" points="${binned(points, x, y)}"/>`);
  }
  return out;
}

function draw({ title, time, panels }) {
  const height = ABOVE + panels.length * PANEL + (panels.length - 1) * BETWEEN + BELOW + 14;
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12" fill="#222">`,
    `<title>${title}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(LEFT, 18, 'start', title),
  ];
  for (const [index, panel] of panels.entries()) {
    const top = ABOVE + 14 + index * (PANEL + BETWEEN);
    out.push(...drawPanel(panel, top, time, index === panels.length - 1));
  }
  const scale = time.isLog ? ', logarithmic' : '';
  out.push(text((LEFT + WIDTH - RIGHT) / 2, height - 12, 'middle', `virtual time, ms${scale}`), '</svg>', '');
  return out.join('\n');
}

const [folder = fileURLToPath(new URL('../docs', import.meta.url)), ...names] = process.argv.slice(2);
for (const name of names.length === 0 ? Object.keys(PLOTS) : names) {
  writeFileSync(join(folder, `eventdev-${name}.svg`), draw(PLOTS[name]()));
}
