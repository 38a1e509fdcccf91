import { Lexer } from 'yaml';

/** Deeper nesting is refused: the parser of YAML recurses. */
export const DEPTH_MAX = 64;
/** A larger text is no configuration, and would be slow to refuse. */
export const TEXT_BYTES_MAX = 1 << 20;
/** Columns of indentation: the parser makes a regular expression of it, and a large one ends the process. */
const INDENT_MAX = 512;

/** What is wrong, and the offset of it. */
interface Refusal {
  readonly offset: number;
  readonly message: string;
}

/** What to say about a value that is nested too deep. */
export const TOO_DEEP = `is nested more than ${DEPTH_MAX} deep; make it flatter`;

/** Looks for text that would crash the parser or keep it busy for seconds. Undefined when `text` may be parsed. */
export function refuseText(text: string): Refusal | undefined {
  if (Buffer.byteLength(text) > TEXT_BYTES_MAX) {
    return { offset: 0, message: `is larger than ${TEXT_BYTES_MAX} bytes; a configuration is small` };
  }
  const indent = new RegExp(`^[ \\t\\-?:]{${INDENT_MAX}}`, 'm').exec(text);
  if (indent !== null) {
    return { offset: indent.index, message: `is indented more than ${INDENT_MAX} columns; make it flatter` };
  }
  let offset = 0;
  let depth = 0;
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') depth++;
    else if (token === ']' || token === '}') depth--;
    // Brackets that close nothing are reported one by one, in quadratic time.
    if (depth > DEPTH_MAX) return { offset, message: TOO_DEEP };
    if (depth < -DEPTH_MAX) return { offset, message: 'has brackets that close nothing; remove them' };
    // Three control characters of one character each stand for no text (`yaml`, src/parse/cst.ts).
    if (token !== '\u0002' && token !== '\u0018' && token !== '\u001f') offset += token.length;
  }
  return undefined;
}
