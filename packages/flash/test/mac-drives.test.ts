/** The drives of a Mac, from what diskutil prints: test/diskutil has its form, with names and sizes of our own. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { listMacDrives } from '../mac-drives.js';
import { parsePlist } from '../plist.js';

const printed = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`diskutil/${name}.plist`, import.meta.url)), 'utf8');
const LIST = printed('list');

describe('the drives of a Mac', () => {
  it('have their names with and without a cache, and the reasons against them', async () => {
    const calls: string[][] = [];
    const found = await listMacDrives((...words) => {
      calls.push(words);
      return Promise.resolve(words[0] === 'list' ? LIST : printed(`info-${words.at(-1)}`));
    });
    expect(calls[0]).toEqual(['list', '-plist']);
    expect(calls).toContainEqual(['info', '-plist', 'disk2']);
    // Neither the container of APFS nor a disk image is a drive.
    expect(found).toEqual([
      {
        name: 'disk0',
        path: '/dev/disk0',
        rawPath: '/dev/rdisk0',
        size: 251 * 2 ** 30,
        model: 'APPLE SSD AP0256',
        bus: 'PCI-Express',
        isRemovable: false,
        mounts: ['/System/Volumes/Data', '/'],
        refusals: ['disk1s1 is mounted at /System/Volumes/Data', 'disk1s2 is mounted at /'],
      },
      {
        name: 'disk2',
        path: '/dev/disk2',
        rawPath: '/dev/rdisk2',
        size: 15_682_240_512,
        model: 'Cruzer Fit & Co',
        bus: 'USB',
        isRemovable: true,
        mounts: ['/Volumes/NO NAME'],
        refusals: ['disk2 is mounted at /Volumes/NO NAME'],
      },
      {
        name: 'disk3',
        path: '/dev/disk3',
        rawPath: '/dev/rdisk3',
        size: 31_914_983_424,
        model: 'SDXC Reader',
        bus: 'Secure Digital',
        isRemovable: true,
        mounts: [],
        refusals: ['it is read-only'],
      },
    ]);
  });
});

describe('a property list', () => {
  const list = (body: string): string =>
    `<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0">${body}</plist>\n`;

  it('has values of all kinds', () => {
    const body = `<dict><key>a &amp; b</key><array><string/><string>&lt;ü&gt;</string><integer>-7</integer><real>1.5</real>
      <true/><false/></array><key>none</key><dict/><key>date</key><date>2026-01-01T00:00:00Z</date></dict>`;
    expect(parsePlist(list(body))).toEqual(
      new Map<string, unknown>([
        ['a & b', ['', '<ü>', -7, 1.5, true, false]],
        ['none', new Map()],
        ['date', '2026-01-01T00:00:00Z'],
      ]),
    );
  });

  it.each([
    ['', 'something else was expected at character 0'],
    [list('<dict><key>a</key></dict>'), 'something else'],
    [list('<dict><key>a</key><true/><key>a</key><true/></dict>'), '"a" twice'],
    [list('<true/><true/>'), 'something else'],
    [list('<integer>x</integer>'), 'no number'],
    [list('<true></true>'), 'a value with contents'],
    [list('<string>&unknown;</string>'), 'the entity unknown'],
    [list('<string>a</data>'), 'something else'],
    [list('<!-- a comment --><true/>'), 'something else'],
    [list('<array>'.repeat(40) + '</array>'.repeat(40)), 'too many levels'],
    ['{"a": 1}', 'something else'],
  ])('is refused: %j', (text, message) => {
    expect(() => parsePlist(text)).toThrow(message);
    expect(() => parsePlist(text)).toThrow(SyntaxError);
  });

  it('that was changed or cut gives a value or a SyntaxError', () => {
    const place = fc.nat(LIST.length);
    fc.assert(
      fc.property(place, place, fc.string({ maxLength: 5 }), (from, to, text) => {
        try {
          parsePlist(LIST.slice(0, Math.min(from, to)) + text + LIST.slice(Math.max(from, to)));
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
