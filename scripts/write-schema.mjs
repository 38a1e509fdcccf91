// Writes build/ringway.schema.json: the JSON Schema of configuration files, which editors read, from the schema that
// checks them. A program of its own, since the build is synchronous and has nothing to import before tsc ran.
import { writeFileSync } from 'node:fs';
import { configJsonSchema } from '../build/config/json-schema.js';

const target = new URL('../build/ringway.schema.json', import.meta.url);
writeFileSync(target, `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
