import * as z from 'zod';
import { configSchema } from './schema.ts';

/** The JSON Schema (2020-12) of configuration files, for editors. What needs a look at other values is not in it. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(configSchema, { io: 'input' });
  return { title: 'ringway configuration', ...schema };
}
