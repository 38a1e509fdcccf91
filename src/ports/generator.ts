import { LCORE_NANOSECONDS, LCORE_SECONDS } from '../lcore/layout.ts';
import type { Arena } from '../memory/arena.ts';
import { formatMac, parseMac, parsePrefix } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import { Random } from '../util/random.ts';
import { type AliasEntry, aliasTable } from './alias.ts';
import { buildFlow, type FlowSpec } from './flow.ts';
import {
  ALIAS_OTHER,
  ALIAS_SHIFT,
  ALIAS_THRESHOLD,
  ALIAS_VALUE,
  FLOW_SHIFT,
  GENERATOR_BYTES,
  GENERATOR_FLOW_ALIAS,
  GENERATOR_FLOW_TABLE,
  GENERATOR_FLOWS,
  GENERATOR_RANDOM,
  GENERATOR_SIZE_ALIAS,
  GENERATOR_SIZES,
  GENERATOR_ZEROES,
} from './layout.ts';
import type { PortInfo, PortType } from './port.ts';
