import type { Config, SteeringRule } from '../config/types.ts';
import type { SteeringEntry } from '../control/target.ts';
import { buildRoutes } from '../packet/prefix.ts';
import { RULES_MAX } from '../switch/layout.ts';
import type { Action, CompiledRule, Steering } from '../switch/steering.ts';
import { parseMacBytes, parsePrefix } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import type { Machine } from './machine.ts';
import type { PortTable } from './port-table.ts';

function macOf(text: string): Uint8Array {
  const mac = parseMacBytes(text);
  if (mac === undefined) throw new RingwayError('BAD_CONFIG', `${text} is no MAC address`);
  return mac;
}

/** Puts static addresses, mirrors and routes of the configuration into the switch. */
export function applySwitchConfig(machine: Machine, config: Config, ports: PortTable): void {
  const indexOf = (name: string): number => ports.get(name).wire.index;
  for (const { mac, vlan, port } of config.switch.static) machine.switch.addStatic(macOf(mac), vlan, indexOf(port));
  for (const { from, to, direction } of config.switch.mirrors) {
    if (direction !== 'tx') machine.switch.addMirror(indexOf(from), indexOf(to), 'rx');
    if (direction !== 'rx') machine.switch.addMirror(indexOf(from), indexOf(to), 'tx');
  }
  const { routes, routerMac } = config.switch;
  if (routerMac === undefined) return;
  const built = routes.map(({ prefix, port, mac }) => {
    const parsed = parsePrefix(prefix);
    if (parsed === undefined || mac === undefined) {
      throw new RingwayError('BAD_CONFIG', `switch.routes: ${prefix}: needs a prefix and the next hop's mac`);
    }
    return { prefix: parsed, port: indexOf(port), mac: macOf(mac) };
  });
  buildRoutes(machine.arena, machine.switch.routes, macOf(routerMac), built);
}

interface Entry {
  readonly id: number;
  readonly rule: SteeringRule;
  readonly hits: number;
  /** What the hit counter stood at when the rule was made. */
  readonly hitsBefore: number;
}

/** The steering rules by their configuration's terms: names of ports, ids, hit counts. */
export class SteeringRules {
  readonly #steering: Steering;
  readonly #ports: PortTable;
  readonly #lcores: number;
  /** An event device chooses the lcores: no rule may. */
  readonly #isSpread: boolean;
  #entries: Entry[] = [];
  #lastId = 0;

  constructor(steering: Steering, ports: PortTable, config: Config) {
    this.#steering = steering;
    this.#ports = ports;
    this.#lcores = config.lcores.length;
    this.#isSpread = config.eventdev !== undefined;
  }

  #actionOf({ action, match }: SteeringRule): Action {
    if ('drop' in action) return { drop: true };
    if ('port' in action) return { port: this.#ports.get(action.port).wire.index };
    if (this.#isSpread) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        'steering: the event device chooses the lcore of a packet; use the action port or drop',
      );
    }
    if ('lcore' in action) {
      if (action.lcore >= this.#lcores) {
        throw new RingwayError('BAD_ARGUMENT', `steering: lcore ${action.lcore}, there are 0 to ${this.#lcores - 1}`);
      }
      return { lcore: action.lcore };
    }
    if (match.inPort === undefined) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        'steering: the action queue needs in-port in its match: whose queue it is',
      );
    }
    const { name, queueLcores } = this.#ports.get(match.inPort).wire;
    const lcore = queueLcores[action.queue];
    if (lcore === undefined) {
      throw new RingwayError(
        'BAD_ARGUMENT',
        `steering: port ${name} has queues 0 to ${queueLcores.length - 1}, not ${action.queue}`,
      );
    }
    return { lcore };
  }

  #compile({ rule, hits }: Entry): CompiledRule {
    const { inPort } = rule.match;
    return {
      ...(inPort === undefined ? {} : { inPort: this.#ports.get(inPort).wire.index }),
      match: rule.match,
      action: this.#actionOf(rule),
      hits,
    };
  }

  #install(entries: Entry[]): void {
    this.#steering.replace(entries.map((entry) => this.#compile(entry)));
    this.#entries = entries;
  }

  #enter(rule: SteeringRule, taken: readonly Entry[]): Entry {
    const used = new Set(taken.map(({ hits }) => hits));
    for (let hits = 0; hits < RULES_MAX; hits++) {
      if (!used.has(hits)) return { id: ++this.#lastId, rule, hits, hitsBefore: this.#steering.hits(hits) };
    }
    throw new RingwayError('BAD_ARGUMENT', `steering: ${RULES_MAX} rules, no more fit; delete one first`);
  }

  /** Puts these rules in force, and no others. */
  replaceAll(rules: readonly SteeringRule[]): void {
    const entries: Entry[] = [];
    for (const rule of rules) entries.push(this.#enter(rule, entries));
    this.#install(entries);
  }

  /** Adds a rule behind the others. Returns its id. */
  add(rule: SteeringRule): number {
    const entry = this.#enter(rule, this.#entries);
    this.#install([...this.#entries, entry]);
    return entry.id;
  }

  /** @throws RingwayError `NOT_FOUND` when there is no such rule. */
  delete(id: number): void {
    const left = this.#entries.filter((entry) => entry.id !== id);
    if (left.length === this.#entries.length) {
      const ids = this.#entries.map((entry) => entry.id).join(', ') || 'none';
      throw new RingwayError('NOT_FOUND', `steering: no rule ${id}; there are: ${ids}`);
    }
    this.#install(left);
  }

  /** Drops the rules that name a port which goes away. */
  forgetPort(name: string): void {
    const names = ({ rule }: Entry): boolean =>
      rule.match.inPort === name || ('port' in rule.action && rule.action.port === name);
    this.#install(this.#entries.filter((entry) => !names(entry)));
  }

  list(): SteeringEntry[] {
    return this.#entries.map(({ id, rule, hits, hitsBefore }) => ({
      id,
      rule,
      hits: this.#steering.hits(hits) - hitsBefore,
    }));
  }
}
