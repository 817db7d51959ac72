/**
 * Words of others on a terminal: names that a server has, what a tool or a guest prints. Control characters would move the
 * cursor, change the title or answer in the user's name; characters of format would hide text or turn it round.
 */

/** Control and format characters (bidirectional ones and those of no width among them), separators of lines, halves. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** The same without line feeds and tabs. */
const HIDDEN_IN_TEXT = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Characters that are shown of one piece. */
const LONGEST = 1000;
const LONGEST_TEXT = 100_000;

/** In one line: what would not be seen as it is, or do something, becomes an escape as JavaScript writes it. */
export const visible = (words: string, longest = LONGEST): string => cut(words, longest).replace(HIDDEN, escaped);

/** The same of several lines, which stay lines. */
export const visibleText = (text: string): string => cut(text, LONGEST_TEXT).replace(HIDDEN_IN_TEXT, escaped);

const cut = (text: string, longest: number): string =>
  text.length > longest ? `${text.slice(0, longest)}… (${text.length - longest} more)` : text;

const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const digits = code.toString(16);
  if (code < 0x100) return NAMED[character] ?? `\\x${digits.padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, '0')}` : `\\u{${digits}}`;
}

/** JSON in which nothing is hidden either: JSON.stringify escapes only the first 32 characters. */
export const visibleJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(HIDDEN_IN_TEXT, unitsEscaped);

/** JSON knows units of 16 bits only. */
const unitsEscaped = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
  ).join('');
