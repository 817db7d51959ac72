/**
 * Parses property lists of Apple in XML, as diskutil prints them: strictly, and no more than they have.
 * https://www.apple.com/DTDs/PropertyList-1.0.dtd
 *
 * Not supported: comments, binary lists. Dates and data stay text.
 */
export type Plist = string | number | boolean | readonly Plist[] | PlistDict;
export type PlistDict = ReadonlyMap<string, Plist>;

const START = /\s*<\?xml[^>]*\?>\s*(?:<!DOCTYPE[^>[]*>\s*)?<plist version="1\.0">/y;
const OPENING = /\s*<(string|date|data|integer|real|true|false|array|dict)(\/?)>/y;
const KEY = /\s*<key>([^<]*)<\/key>/y;
const TEXT = /[^<]*/y;
const MAX_DEPTH = 32;
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** @throws SyntaxError that names the place, if it is no such list */
export function parsePlist(text: string): Plist {
  const parser = new Parser(text);
  parser.expect(START);
  const value = parser.value(0);
  parser.expect(/\s*<\/plist>\s*$/y);
  return value;
}

class Parser {
  #at = 0;

  constructor(private readonly text: string) {}

  expect(pattern: RegExp): RegExpExecArray {
    return this.#take(pattern) ?? this.#fail('something else was expected');
  }

  value(depth: number): Plist {
    if (depth > MAX_DEPTH) this.#fail('too many levels');
    const [, type = '', isEmpty] = this.expect(OPENING);
    if (type === 'true' || type === 'false') return isEmpty ? type === 'true' : this.#fail('a value with contents');
    if (type === 'array') return this.#array(depth, isEmpty !== '');
    if (type === 'dict') return this.#dict(depth, isEmpty !== '');
    const [content] = isEmpty ? [''] : this.expect(TEXT);
    if (!isEmpty) this.expect(new RegExp(`</${type}>`, 'y'));
    if (type !== 'integer' && type !== 'real') return this.#unescaped(content);
    return /^-?\d+(?:\.\d+)?$/.test(content) ? Number(content) : this.#fail('no number');
  }

  #array(depth: number, isEmpty: boolean): Plist[] {
    const values: Plist[] = [];
    while (!isEmpty && !this.#take(/\s*<\/array>/y)) values.push(this.value(depth + 1));
    return values;
  }

  #dict(depth: number, isEmpty: boolean): Map<string, Plist> {
    const values = new Map<string, Plist>();
    while (!isEmpty && !this.#take(/\s*<\/dict>/y)) {
      const key = this.#unescaped(this.expect(KEY)[1] ?? '');
      if (values.has(key)) this.#fail(`${JSON.stringify(key)} twice`);
      values.set(key, this.value(depth + 1));
    }
    return values;
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.text) ?? undefined;
    if (match) this.#at = pattern.lastIndex;
    return match;
  }

  #unescaped(escaped: string): string {
    return escaped.replace(/&(#?\w*);?/g, (_, name: string) => ENTITIES[name] ?? this.#fail(`the entity ${name}`));
  }

  #fail(reason: string): never {
    const rest = JSON.stringify(this.text.slice(this.#at, this.#at + 40));
    throw new SyntaxError(`a property list: ${reason} at character ${this.#at}: ${rest}`);
  }
}
