import { expect } from 'vitest';

/** Fails when tags do not close in the order that they were opened in, or text has what only markup may. */
export function wellFormed(markup: string): void {
  const open: string[] = [];
  const text = markup
    .replaceAll(/<style>[\s\S]*?<\/style>/g, '')
    .replaceAll(/<(\/?)([a-z0-9]+)(?:\s[^<>]*?)?(\/?)>/g, (_, close, name, empty) => {
      if (close) expect(open.pop()).toBe(name);
      else if (!empty) open.push(name);
      return '';
    });
  expect(open).toEqual([]);
  expect(text).not.toMatch(/[<>]|&(?!(?:amp|lt|gt|quot);)/);
}
