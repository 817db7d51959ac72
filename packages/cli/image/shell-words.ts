/** Words of a line, as shells have them: quotes, and a backslash before a character that means itself. */
import { NodeosError } from '@nodeos/base';

const WORD = /\s*((?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+)/sy;
const PART = /\\(.)|'([^']*)'|"((?:[^"\\]|\\.)*)"|([^'"\\]+)/gs;

/** @throws NodeosError for a quote that is not closed */
export function wordsIn(line: string): string[] {
  const words: string[] = [];
  WORD.lastIndex = 0;
  for (let at = 0; ; at = WORD.lastIndex) {
    const [, word] = WORD.exec(line) ?? [];
    if (word === undefined) {
      if (line.slice(at).trim() === '') return words;
      throw new NodeosError(`a quote is not closed: ${line.slice(at).trim()}`);
    }
    words.push(plain(word));
  }
}

const plain = (word: string): string =>
  word.replace(PART, (_, escaped?: string, single?: string, double?: string, bare?: string) => {
    if (double !== undefined) return double.replace(/\\(["\\])/g, '$1');
    return escaped ?? single ?? bare ?? '';
  });
