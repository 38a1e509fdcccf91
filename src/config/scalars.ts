/** The kinds of single values in a configuration: what is allowed, in words and as a schema. */
import * as z from 'zod';
import {
  formatIpv4,
  formatIpv6,
  formatMac,
  formatPrefix,
  parseCoveringPrefix,
  parseIpv4,
  parseIpv6,
  parseMac,
} from '../util/addresses.ts';
import { nearest, suggest } from '../util/nearest.ts';
import { parseBytes, parseDuration, parseProbability, parseRate } from '../util/units.ts';
import { show } from './problems.ts';

/** Port names. */
export const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,31}$/;
export const NAME_ALLOWED = 'a letter, then up to 31 letters, digits, "_" or "-"';

/** What to say about a value: `what` it should be (with its article), and what is `allowed`. */
function refusal(what: string, allowed: string): (issue: { readonly input?: unknown }) => string {
  return ({ input }) =>
    input === undefined ? `is missing; give ${allowed}` : `${show(input)} is not ${what}; use ${allowed}`;
}

/** A whole number from `min` to `max`. */
export function whole(what: string, min: number, max: number, description: string) {
  const error = refusal(what, `a whole number from ${min} to ${max}`);
  return z.int({ error }).min(min, { error }).max(max, { error }).meta({ description });
}

/** One of a few words. */
export function oneOf<const T extends readonly [string, ...string[]]>(what: string, words: T, description: string) {
  const list = `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
  const error = ({ input }: { readonly input?: unknown }): string => {
    const near = typeof input === 'string' ? nearest(input, words) : undefined;
    return refusal(what, list)({ input }) + (near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`);
  };
  return z.enum(words, { error }).meta({ description });
}

/** true or false. */
export function truth(description: string) {
  return z.boolean({ error: refusal('true or false', 'true or false') }).meta({ description });
}

/** Text of 1 to 4096 characters without NUL. */
export function text(what: string, allowed: string, description: string) {
  const error = refusal(what, allowed);
  return z
    .string({ error })
    .min(1, { error })
    .max(4096, { error })
    .regex(/^[^\0]*$/, { error })
    .meta({ description });
}

/** A number, or text that `parse` understands. */
function measured(
  what: string,
  allowed: string,
  description: string,
  parse: (value: string | number) => number | undefined,
) {
  const error = refusal(what, allowed);
  return z
    .union([z.string(), z.number()], { error })
    .meta({ description })
    .transform((input, context): number => {
      const value = parse(input);
      if (value !== undefined) return value;
      context.addIssue({ code: 'custom', message: error({ input }) });
      return z.NEVER;
    });
}

function within(min: number, max: number, value: number | undefined): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

/** Bytes from `min` to `max`; `shown` is that range in words. */
export function bytes(min: number, max: number, shown: string, description: string) {
  return measured('a size', `${shown}, such as 2MiB`, description, (value) => within(min, max, parseBytes(value)));
}

/** Seconds from `min` to `max`; `shown` is that range in words. */
export function duration(min: number, max: number, shown: string, description: string) {
  return measured('a time', `${shown}, such as 10s, 250ms or 5m`, description, (value) =>
    within(min, max, parseDuration(value)),
  );
}

/** Packets per second, 1 to 10^9. */
export function rate(description: string) {
  return measured('a rate', '1pps to 1Gpps, such as 100pps, 500kpps or 1Mpps', description, (value) =>
    within(1, 1e9, parseRate(value)),
  );
}

/** 0 to 1. */
export function probability(description: string) {
  return measured('a probability', '0 to 1, or a percentage such as 1%', description, parseProbability);
}

/** `full`, `recorded`, or how many times as fast, up to 10^6. */
export function speed(description: string) {
  const error = refusal('a speed', 'recorded, full, or a factor such as 2x');
  return z
    .union([z.string(), z.number()], { error })
    .meta({ description })
    .transform((input, context): 'full' | 'recorded' | number => {
      if (input === 'full' || input === 'recorded') return input;
      const factor = typeof input === 'number' ? input : Number(/^(\d+(\.\d+)?)x?$/.exec(input)?.[1] ?? 0);
      if (factor > 0 && factor <= 1e6) return factor;
      context.addIssue({ code: 'custom', message: error({ input }) });
      return z.NEVER;
    });
}

/** Text that `parse` turns into its canonical form. */
function canonical(what: string, allowed: string, description: string, parse: (text: string) => string | undefined) {
  const error = refusal(what, allowed);
  return z
    .string({ error })
    .meta({ description })
    .transform((input, context): string => {
      const value = parse(input);
      if (value !== undefined) return value;
      context.addIssue({ code: 'custom', message: error({ input }) });
      return z.NEVER;
    });
}

/** A MAC address. `unicast`: one that a station can have. */
export function mac(description: string, unicast = false) {
  const allowed = unicast ? 'a unicast one such as 02:00:00:00:00:01' : 'six bytes such as 02:00:00:00:00:01';
  return canonical('a MAC address', allowed, description, (input) => {
    const parsed = parseMac(input);
    if (parsed === undefined) return undefined;
    // The lowest bit of the first byte says group (IEEE 802, 8.2.2).
    const isStation = parsed !== 0 && (Math.floor(parsed / 2 ** 40) & 1) === 0;
    return isStation || !unicast ? formatMac(parsed) : undefined;
  });
}

/** An IPv4 or an IPv6 address, or either. */
export function address(family: 4 | 6 | undefined, description: string) {
  const allowed = { 4: 'one such as 10.0.0.2', 6: 'one such as 2001:db8::2' };
  const text = family === undefined ? `${allowed[4]} or ${allowed[6]}` : allowed[family];
  return canonical('an IP address', text, description, (input) => {
    const v4 = family === 6 ? undefined : parseIpv4(input);
    if (v4 !== undefined) return formatIpv4(v4);
    const v6 = family === 4 ? undefined : parseIpv6(input);
    return v6 === undefined ? undefined : formatIpv6(v6);
  });
}

/** An IPv4 or IPv6 prefix; an address without a length is the one address. */
export function prefix(description: string) {
  const error = refusal('an IP prefix', 'one such as 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32');
  return z
    .string({ error })
    .meta({ description })
    .transform((input, context): string => {
      const parsed = parseCoveringPrefix(input);
      const whole = parseCoveringPrefix(input.replace(/\/.*$/, ''));
      if (parsed === undefined || whole === undefined) {
        context.addIssue({ code: 'custom', message: error({ input }) });
        return z.NEVER;
      }
      if (parsed.bytes.some((byte, index) => byte !== whole.bytes[index])) {
        const message = `${show(input)} has bits set behind its length; use ${formatPrefix(parsed)}`;
        context.addIssue({ code: 'custom', message });
        return z.NEVER;
      }
      return formatPrefix(parsed);
    });
}

/** The name of a port. Whether there is one is checked where the whole configuration is known. */
export function portName(description: string) {
  const error = refusal('a port name', NAME_ALLOWED);
  return z.string({ error }).regex(NAME, { error }).meta({ description });
}

/** A list of `min` to `max` items. */
export function list<T extends z.ZodType>(item: T, min: number, max: number, what: string, description: string) {
  const error = ({ input }: { readonly input?: unknown }): string => {
    const got = Array.isArray(input) ? `${input.length} items are` : `${show(input)} is`;
    return `${got} not ${what}; use a list of ${min} to ${max} items`;
  };
  return z.array(item, { error }).min(min, { error }).max(max, { error }).meta({ description });
}

/**
 * A mapping with these keys and no others. An unknown key is answered with the nearest known one: one line for each
 * key of the issue, in its order.
 */
export function mapping<T extends z.core.$ZodLooseShape>(what: string, shape: T) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') {
        return issue.keys.map((key) => `is not a key of ${what}; ${suggest(key, known)}`).join('\n');
      }
      return refusal(what, `a mapping with ${known.join(', ')}`)({ input: issue.input });
    },
  });
}
