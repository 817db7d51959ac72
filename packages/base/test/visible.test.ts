import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NodeosError } from '../errors.js';
import { visible, visibleJson, visibleText } from '../visible.js';

/** The characters that a terminal obeys or does not show. */
// eslint-disable-next-line no-control-regex
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;

describe('foreign text', () => {
  it.each([
    ['disk', 'disk'],
    ['Größe 大きさ 🙂', 'Größe 大きさ 🙂'],
    ['\x1b]0;title\x07', '\\x1b]0;title\\x07'],
    ['\x9b31m', '\\x9b31m'],
    ['a\r\nb\tc\x7f', 'a\\r\\nb\\tc\\x7f'],
    ['\u202egpj.exe', '\\u202egpj.exe'],
    ['a\u200bb\ufeff', 'a\\u200bb\\ufeff'],
    ['\u{e0041}', '\\u{e0041}'],
    ['\ud800', '\\ud800'],
    ['x'.repeat(2000), `${'x'.repeat(1000)}… (1000 more)`],
  ])('shows %j as %s', (words, shown) => expect(visible(words)).toBe(shown));

  it('cannot control a terminal, whatever it contains', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (words) => {
        expect(visible(words)).not.toMatch(HIDDEN);
        expect(visibleText(words).replace(/[\n\t]/g, '')).not.toMatch(HIDDEN);
        expect(JSON.stringify(words).length).toBeLessThanOrEqual(visibleJson(words).length);
        expect(visibleJson({ words })).not.toMatch(HIDDEN);
        expect(JSON.parse(visibleJson({ words }, 2))).toEqual({ words });
      }),
    );
  });

  it('is escaped in an error and keeps its line breaks', () => {
    const { message, hint, lines } = new NodeosError('line \x1b[2J\n\tline', {
      hint: '--export \x9bx',
      lines: ['\x1b[31mred\x1b[0m\rover', 'fine\there'],
    });
    expect([message, hint, ...lines]).toEqual([
      ...['line \\x1b[2J\n\tline', '--export \\x9bx', 'red\\rover', 'fine\there'],
    ]);
  });
});
