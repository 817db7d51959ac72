import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { checksumOf, type Source } from '@nodeos/engine';
import { beforeAll, describe, expect, it } from 'vitest';
import { upstreamOf } from '../debian-version.js';
import { moveSource } from '../moved.js';
import { pinsIn, readPins, type Pin } from '../pins.js';
import { packagePlaceOf, packageOf, type PackagePlace } from '../places/index.js';
import { rewrite, type Move } from '../rewrite.js';
import { ROOT, textOf } from './helpers.js';

const hash = (algorithm: string, text: string): string => createHash(algorithm).update(text).digest('hex');

/** A place with another version of the pinned package. The file does not exist, which does not matter here. */
function elsewhere(place: PackagePlace, change: (version: string) => string): PackagePlace {
  const version = change(packageOf(place).version);
  if ('npm' in place) return { npm: { ...place.npm, version }, sha512: hash('sha512', version) };
  const { member } = place.debian;
  const [old, upstream] = [place.debian.version, version].map(upstreamOf) as [string, string];
  const file = member?.replace(place.debian.version, version).replace(old, upstream);
  const debian = { ...place.debian, version, ...(file === undefined ? {} : { member: file }) };
  return { debian, sha256: hash('sha256', `${version} ${member ?? place.debian.package} ${place.debian.arch ?? ''}`) };
}

const move = (pin: Pin, to: PackagePlace): Move => ({
  pin,
  ...moveSource(pin.source, placeOf(pin), to, hash('sha1', JSON.stringify(to))),
});
const placeOf = (pin: Pin): PackagePlace => packagePlaceOf(pin.source) as PackagePlace;
/** Removes line breaks, because lines that were wrapped once stay wrapped. */
const tight = (text: string): string => text.replace(/,?\s+/g, '');
const nextRevision = (version: string): string => `${version}+deb99u10`;
const atPath = (text: string, pin: Pin): Source | undefined =>
  pinsIn(text, pin.file).find(({ path }) => path.join() === pin.path.join())?.source;

describe('on the real files', () => {
  let all: Pin[];
  beforeAll(async () => void (all = await readPins(ROOT)));

  /** Pins of one package can share literals, so they are moved together. */
  const sharers = (pin: Pin, queryable: readonly Pin[]): Pin[] =>
    queryable.filter((one) => one.file === pin.file && nameOf(one) === nameOf(pin));
  const nameOf = (pin: Pin): string => packageOf(placeOf(pin)).package;

  it('moves each pin to another version and back, and changes nothing else', async () => {
    const queryable = all.filter(({ source }) => packagePlaceOf(source) !== undefined);
    expect(queryable.length).toBeGreaterThan(10);
    for (const pin of queryable.filter((one) => sharers(one, queryable)[0] === one)) {
      const before = textOf(ROOT, pin.file);
      const path = join(ROOT, pin.file);
      const family = sharers(pin, queryable);
      const moves = family.map((one) => move(one, elsewhere(placeOf(one), nextRevision)));
      const after = await rewrite(before, moves, path);
      for (const { pin: one, source } of moves) {
        expect(atPath(after, one), one.id).toEqual(source);
        expect(packageOf(packagePlaceOf(source) as PackagePlace).version).toBe(
          nextRevision(packageOf(placeOf(one)).version),
        );
      }
      for (const other of all.filter(({ file, id }) => file === pin.file && !family.some((one) => one.id === id))) {
        expect(atPath(after, other), `${other.id} beside ${pin.id}`).toEqual(other.source);
      }
      const back = moves.map(({ pin: one, source, replacements }) => ({
        pin: { ...one, source },
        source: one.source,
        replacements: new Map([...replacements].map(([from, to]) => [to, from])),
      }));
      expect(tight(await rewrite(after, back, path)), pin.id).toBe(tight(before));
    }
  });

  it('moves upstream versions with their file names and mirrors', async () => {
    const family = ['musl', 'musl-fixes'].map((id) => all.find((pin) => pin.id === id) as Pin);
    const file = family[0]?.file ?? '';
    const newer = (): string => '1.9.7-1';
    const moves = family.map((pin) => move(pin, elsewhere(placeOf(pin), newer)));
    const after = await rewrite(textOf(ROOT, file), moves, join(ROOT, file));
    const [musl, fixes] = family.map((pin) => atPath(after, pin));
    expect(musl).toMatchObject({
      version: '1.9.7',
      places: [{ debian: { version: '1.9.7-1', member: 'musl_1.9.7.orig.tar.gz' } }, {}, {}],
    });
    expect(musl?.places[2]).toMatchObject({ url: expect.stringMatching(/\/musl-1\.9\.7\.tar\.gz$/) });
    expect(new Set(musl?.places.map((place) => checksumOf(place).digest)).size).toBe(1);
    expect(fixes).toMatchObject({
      version: '1.9.7-1',
      places: [{ debian: { member: 'musl_1.9.7-1.debian.tar.xz' } }, {}],
    });
    expect(after.split('\n').length).toBe(textOf(ROOT, file).split('\n').length);
  });

  it('refuses to move one of two pins that share a version, and names the other', async () => {
    const musl = all.find(({ id }) => id === 'musl') as Pin;
    const alone = [move(musl, elsewhere(placeOf(musl), nextRevision))];
    await expect(rewrite(textOf(ROOT, musl.file), alone, join(ROOT, musl.file))).rejects.toThrow(
      'musl cannot be moved without musl-fixes',
    );
  });

  it('refuses a new upstream version when another place has a checksum of its own', () => {
    const gcc = all.find(({ id }) => id === 'gcc') as Pin;
    const newer = elsewhere(placeOf(gcc), () => '14.9.0-1');
    expect(() => move(gcc, newer)).toThrow(/cannot be moved to 14\.9\.0: of its place https:.*gcc-14/);
    // The same upstream version in a newer package leaves that place as it is.
    const { source } = move(gcc, elsewhere(placeOf(gcc), nextRevision));
    expect(source.places.at(-1)).toEqual(gcc.source.places.at(-1));
  });
});

describe('on other ways to write a pin', () => {
  const OLD = hash('sha512', 'old');
  const OTHER = hash('sha512', 'other');
  const path = join(ROOT, 'kernel/sources.ts');
  const pinned = (text: string, index = 0): Pin => {
    const pin = pinsIn(text, 'kernel/sources.ts')[index];
    if (!pin) throw new Error('no pin');
    return { ...pin, id: pin.source.name };
  };
  const npm = (version: string): PackagePlace => ({ npm: { package: 'n', version }, sha512: hash('sha512', version) });

  it('changes one row of a table, though another has the same version', async () => {
    const text = `// 1.2.3 was the first
const node = (version: string, sha512: string) => ({
  name: 'node',
  version,
  places: [{ npm: { package: 'n', version }, sha512 }],
});
export const NODE = {
  x86_64: node('1.2.3', '${OLD}'), // 1.2.3
  aarch64: node('1.2.3', '${OTHER}'),
};
`.replaceAll(/'([0-9a-f]{128})'/g, "\n    '$1',\n  ");
    const formatted = await rewrite(text, [move(pinned(text, 1), npm('1.2.10'))], path);
    expect(pinned(formatted, 0).source.version).toBe('1.2.3');
    expect(pinned(formatted, 1).source).toMatchObject({ version: '1.2.10', places: [npm('1.2.10')] });
    expect(formatted).toContain('// 1.2.3 was the first');
  });

  it('changes a constant in a template, whatever the quotes', async () => {
    const text = `const V = "1.2.3";
export const A = { name: 'a', version: \`\${V}\`, places: [{ npm: { package: 'n', version: V }, sha512: \`${OLD}\` }] };
`;
    const after = await rewrite(text, [move(pinned(text), npm('2.0.0'))], path);
    expect(pinned(after).source).toMatchObject({ version: '2.0.0', places: [npm('2.0.0')] });
  });

  it('moves the version next to a source, too', async () => {
    const text = `export const A = {
  version: '1.2.3',
  source: { name: 'a', version: '1.2.3', places: [{ npm: { package: 'n', version: '1.2.3' }, sha512: '${OLD}' }] },
};
`;
    const after = await rewrite(text, [move(pinned(text), npm('2.0.0'))], path);
    expect(pinned(after)).toMatchObject({
      outerVersion: '2.0.0',
      source: { version: '2.0.0', places: [npm('2.0.0')] },
    });
  });

  it('refuses a source whose version is not that of its package', () => {
    const text = `export const A = { name: 'a', version: '26.0.0', places: [{ npm: { package: 'n', version: '1.2.3' }, sha512: '${OLD}' }] };\n`;
    expect(() => move(pinned(text), npm('1.3.0'))).toThrow(
      'a 26.0.0 cannot be moved to a newer version: of its place n 1.2.3',
    );
  });

  it.each([
    ['a version that is computed', `version: ['1', '2', '3'].join('.')`, `'${OLD}'`],
    ['a checksum in two pieces', `version: '1.2.3'`, `'${OLD.slice(0, 64)}' + '${OLD.slice(64)}'`],
  ])('refuses %s', async (_, version, sum) => {
    const place = `{ npm: { package: 'n', version: '1.2.3' }, sha512: ${sum} }`;
    const text = `export const A = { name: 'a', ${version}, places: [${place}] };\n`;
    const refused = rewrite(text, [move(pinned(text), npm('1.2.4'))], path);
    await expect(refused).rejects.toThrow('a cannot be moved by changing its literals');
  });
});
