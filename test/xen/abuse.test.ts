import { test } from 'vitest';
import { runAbuse } from './support/abuse.ts';
import { BACK_CASES } from './support/abuse-back.ts';
import { FRONT_CASES } from './support/abuse-front.ts';

const cases = [...BACK_CASES, ...FRONT_CASES].map((each) => [each.name, each] as const);

test.each(cases)('%s', (_, each) => runAbuse(each, 'plain'));
