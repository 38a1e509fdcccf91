import * as z from 'zod';
import { show } from './problems.ts';
import { mapping, oneOf, text, truth } from './scalars.ts';

const contents = z
  .record(z.string(), z.unknown(), {
    error: ({ input }) => `${show(input)} is no contents of a map; use a mapping of keys to values`,
  })
  .meta({ description: 'Values by key: numbers, addresses, port:NAME, hexadecimal bytes, or members by name.' });

const object = text('a path', 'a path, relative to this file or absolute', 'The eBPF object file.');

const program = mapping('an XDP program', {
  object,
  program: z.exactOptional(text('a program', 'the name of its function', 'Which of its programs; the only one.')),
  maps: z
    .record(z.string(), contents, {
      error: ({ input }) => `${show(input)} is no set of maps; use a mapping of names to contents`,
    })
    .meta({ description: 'What is put into its maps before it runs, by their names.' })
    .default({}),
  attach: oneOf(
    'a place',
    ['kernel', 'ringway'],
    'Who runs it: the kernel, before packets come to an af-xdp port, or ringway.',
  ).default('ringway'),
  trusted: truth('Run it without checks: it was verified elsewhere, and does nothing wrong.').default(false),
});

/** The XDP program of a port: an object file, or a mapping. */
export const xdp = z
  .union(
    [object.transform((path) => ({ object: path, maps: {}, attach: 'ringway' as const, trusted: false })), program],
    {
      error: ({ input }) =>
        `${show(input)} is no XDP program; use the path of an object file, or {object, program, maps}`,
    },
  )
  .meta({ description: 'The XDP program that sees each packet first.' });
