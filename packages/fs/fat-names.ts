/** The names of files on FAT: what they may be, and the short names that stand in for long ones. */

/** In UTF-16 units. */
const MAX_NAME = 255;
const FORBIDDEN = /["*/:<>?\\|]/;
/** Without control characters. */
const ASCII = /^[ -~]*$/;
const LABEL = /^[A-Z0-9!#$%&'()@^_`{}~-][A-Z0-9!#$%&'()@^_`{}~ -]{0,10}$/;
const SHORT = /^[A-Z0-9!#$%&'()@^_`{}~-]{1,8}(\.[A-Z0-9!#$%&'()@^_`{}~-]{1,3})?$/;
const NOT_SHORT = /[^A-Z0-9!#$%&'()@^_`{}~-]/gu;

/** What is wrong with a name, as the end of a sentence; undefined if nothing is. */
export function problemOf(name: string): string | undefined {
  if (name === '' || name === '.' || name === '..') return 'is no name';
  if (name.length > MAX_NAME) return `is longer than ${MAX_NAME} UTF-16 units`;
  if (FORBIDDEN.test(name) || (!ASCII.test(name) && Array.from(name).some((character) => character < ' ')))
    return 'has a control character or one of " * / : < > ? \\ |';
  if (/[. ]$/.test(name)) return 'ends with a dot or a space';
  if (/\p{Surrogate}/u.test(name)) return 'has half of a surrogate pair';
  return undefined;
}

/** Equal for names that FAT takes for the same. Windows, too, maps each character to one character. */
export function fold(name: string): string {
  if (ASCII.test(name)) return name.toUpperCase();
  return Array.from(name, (character) => {
    const upper = character.toUpperCase();
    return upper.length === character.length ? upper : character;
  }).join('');
}

/** The label in upper case. @throws RangeError if the format cannot hold it */
export function labelOf(label: string): string {
  const upper = upperCase(label);
  if (LABEL.test(upper) && !upper.endsWith(' ')) return upper;
  throw new RangeError(
    `the label ${JSON.stringify(label)}: FAT takes 1 to 11 of A to Z, 0 to 9, inner spaces and ! # $ % & ' ( ) @ ^ _ \` { } ~ -`,
  );
}

const upperCase = (text: string): string => text.replace(/[a-z]/g, (letter) => letter.toUpperCase());

/**
 * The short name of each name of a folder, such as `LONGNA~1.TXT`. A name that differs from its short name needs a long
 * one.
 * @param names all different when folded; their order decides on the numbers
 */
export function shortNames(names: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  // These come first, so that no other file gets one of them as its short name.
  for (const name of names) if (SHORT.test(upperCase(name))) found.set(name, upperCase(name));
  const taken = new Set(found.values());
  const next = new Map<string, number>();
  for (const name of names) {
    if (found.has(name)) continue;
    const [base, extension] = basisOf(name);
    const key = base + extension;
    for (let number = next.get(key) ?? 1; !found.has(name); number++) {
      const tail = `~${number}`;
      const short = base.slice(0, 8 - tail.length) + tail + extension;
      if (taken.has(short)) continue;
      taken.add(short);
      found.set(name, short);
      next.set(key, number + 1);
    }
  }
  return found;
}

/** The first characters of the name, and its extension with the dot. */
function basisOf(name: string): [base: string, extension: string] {
  const text = upperCase(name).replaceAll(' ', '').replace(/^\.+/, '');
  const dot = text.includes('.') ? text.lastIndexOf('.') : text.length;
  const cleaned = (part: string): string => part.replaceAll('.', '').replace(NOT_SHORT, '_');
  const extension = cleaned(text.slice(dot)).slice(0, 3);
  return [cleaned(text.slice(0, dot)).slice(0, 6), extension && `.${extension}`];
}
