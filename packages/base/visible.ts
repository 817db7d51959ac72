/**
 * Makes foreign text safe to print on a terminal: names from a server, output of a tool or a guest. Control characters
 * could move the cursor, change the title or answer in the user's name. Format characters could hide or reverse text.
 */

/**
 * Control characters, format characters (including bidirectional and zero-width ones), line separators, lone
 * surrogates.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** The same set without line feeds and tabs. */
const HIDDEN_IN_TEXT = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The maximum number of characters shown of one string. The rest is only counted. */
const LONGEST = 1000;
const LONGEST_TEXT = 100_000;

/** Escapes one line of text. Every hidden or active character becomes a JavaScript escape. */
export const visible = (text: string, longest = LONGEST): string => truncate(text, longest).replace(HIDDEN, escaped);

/** Escapes text of several lines. Line feeds and tabs stay. */
export const visibleText = (text: string): string => truncate(text, LONGEST_TEXT).replace(HIDDEN_IN_TEXT, escaped);

const truncate = (text: string, longest: number): string =>
  text.length > longest ? `${text.slice(0, longest)}… (${text.length - longest} more)` : text;

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const digits = code.toString(16);
  if (code < 0x100) return ESCAPES[character] ?? `\\x${digits.padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, '0')}` : `\\u{${digits}}`;
}

/** JSON without hidden characters. JSON.stringify alone escapes only the first 32 characters. */
export const visibleJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(HIDDEN_IN_TEXT, unitsEscaped);

/** JSON escapes are 16-bit units, so a character beyond U+FFFF becomes two of them. */
const unitsEscaped = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
  ).join('');
