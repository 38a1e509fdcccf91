import type { Command } from 'commander';
import { parseSteeringRule, parseValue } from '../config/index.ts';
import { RingwayError } from '../util/errors.ts';
import { formatCount } from './format.ts';
import { type RemoteFlags, withClient, withName } from './remote.ts';
import { renderTable } from './table.ts';
import { processTerminal, styleOf } from './terminal.ts';

/** A rule as the control socket lists it. */
export interface ListedRule {
  readonly id: number;
  /** As in YAML. */
  readonly rule: unknown;
  readonly hits: number;
}

/** A value in YAML's flow style, as `steer add` takes it. */
function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const pairs = Object.entries(value).map(([key, part]) => `${key}: ${flow(part)}`);
    return `{ ${pairs.join(', ')} }`;
  }
  if (typeof value !== 'string') return String(value);
  // Quoted where YAML would read something else, such as ::1 or a port named null.
  return /^(?!(null|true|false)$)[a-z][\w-]*$/i.test(value) ? value : JSON.stringify(value);
}

/** The lines of `steer list`. */
export function renderRules(rules: readonly ListedRule[], columns: number, hasColor: boolean): string[] {
  if (rules.length === 0) return ['no rules'];
  const titles = [
    { title: 'ID', align: 'right', rank: 0 },
    { title: 'HITS', align: 'right', rank: 0 },
    { title: 'RULE', align: 'left', rank: 0 },
  ] as const;
  const rows = rules.map(({ id, rule, hits }) => [String(id), formatCount(hits), flow(rule)]);
  return renderTable(titles, rows, columns, styleOf(hasColor));
}

function readId(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new RingwayError('BAD_ARGUMENT', `${JSON.stringify(text)} is not the id of a rule; see \`ringway steer list\``);
}

/** Adds `ringway steer add`, `del` and `list`. */
export function addSteer(program: Command): void {
  const steer = program.command('steer').description('add, remove or list steering rules');
  withName(steer.command('add'))
    .description('add a rule behind the others, and print its id')
    .argument('<rule...>', "YAML, such as '{match: {flow-type: udp4, dst-port: 53}, action: {port: out}}'")
    .action((words: string[], flags: RemoteFlags) => {
      const rule = parseValue(words.join(' '), 'rule');
      parseSteeringRule(rule);
      return withClient(flags, async (client) => {
        const { id } = await client.request<{ id: number }>('steer.add', { rule });
        processTerminal().write(`${id}\n`);
      });
    });
  withName(steer.command('del'))
    .description('remove a rule')
    .argument('<id>', 'its id')
    .action((text: string, flags: RemoteFlags) => {
      const id = readId(text);
      return withClient(flags, (client) => client.request('steer.del', { id }));
    });
  withName(steer.command('list'))
    .description('list the rules and how often they matched')
    .option('--json', 'as JSON')
    .action((flags: RemoteFlags & { json?: boolean }) =>
      withClient(flags, async (client) => {
        const rules = await client.request<ListedRule[]>('steer.list');
        const terminal = processTerminal();
        const columns = terminal.isTty ? terminal.size().columns : 400;
        const lines = flags.json === true ? [JSON.stringify(rules)] : renderRules(rules, columns, terminal.hasColor);
        terminal.write(`${lines.join('\n')}\n`);
      }),
    );
}
