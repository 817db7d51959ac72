/** Uses the real registries: Debian's mirror, with its signatures, and npm. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cache, fetchSource, hashFile, type UrlPlace } from '@nodeos/engine';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Report } from '../inspect.js';
import { readPins } from '../pins.js';
import { packagePlaceOf } from '../places/index.js';
import { newestOf, sha512In } from '../places/npm.js';
import { RECORD } from '../record.js';
import { interrupted, pins, repository, ROOT, temporary, textOf } from './helpers.js';

const hasApt = existsSync('/usr/lib/apt/apt-helper');
const SUM = 'a'.repeat(64);
const SHA1 = 'b'.repeat(40);

/** Old versions with wrong checksums: two packages of the same source, and Debian's patches of another source. */
const LAYER = `/** The comment stays. */
import { debianPlaces, type Source } from '@nodeos/engine';

const library = (name: string, version: string, sha256: string, sha1: string): Source => ({
  name,
  version,
  places: debianPlaces({ package: name, version, suite: 'trixie', arch: 'amd64' }, sha256, sha1),
});

export const LIBRARIES = {
  libatomic1: library('libatomic1', '14.2.0-1', '${SUM}', '${SHA1}'),
  'gcc-14-base': library('gcc-14-base', '14.2.0-1', '${SUM.replace('a', '1')}', '${SHA1.replace('b', '2')}'),
};
const MUSL = { package: 'musl', version: '1.2.3-1', suite: 'trixie' };
export const FIXES: Source = {
  name: 'fixes',
  version: MUSL.version,
  places: debianPlaces({ ...MUSL, member: \`musl_\${MUSL.version}.debian.tar.xz\` }, '${SUM.replace('a', '3')}', '${SHA1.replace('b', '4')}'),
};
`;
const NPM = `import type { Source } from '@nodeos/engine';

export const PACKAGE: Source = {
  name: 'old',
  version: '1.0.0',
  places: [{ npm: { package: 'bindings', version: '1.0.0' }, sha512: '${SUM}${SUM}' }],
};
`;

describe.skipIf(!hasApt)('the pins of this repository', () => {
  it('can all be queried', { timeout: 600_000 }, async () => {
    const { stdout } = await pins(ROOT, 'check', '--json');
    const { pins: reports, npm } = JSON.parse(stdout) as { pins: Report[]; npm: object };
    expect(reports.map(({ id }) => id)).toEqual((await readPins(ROOT)).map(({ id }) => id));
    for (const report of reports.filter(({ state }) => state !== 'by hand')) {
      expect(report, report.id).toMatchObject({ state: expect.stringMatching(/^(newest|behind)$/), problems: [] });
      expect(report.released, report.id).toMatch(/^20\d\d-\d\d-\d\d$/);
    }
    expect(Object.keys(npm)).toEqual([expect.stringMatching(/^(holes|unknown)$/)]);
  });
});

describe.skipIf(!hasApt)('update', () => {
  it('moves pins to what the registries have, verified', { timeout: 600_000 }, async (context) => {
    const root = repository({ 'kernel/sources.ts': LAYER, 'packages/x/sources.ts': NPM });
    const dry = await pins(root, 'update', '--dry-run', 'libatomic1');
    expect(dry).toMatchObject({ status: 0, stdout: expect.stringMatching(/^libatomic1: 14\.2\.0-1 -> /) });
    expect([textOf(root, 'kernel/sources.ts'), existsSync(join(root, RECORD))]).toEqual([LAYER, false]);

    // A pin of the same source moves, too. The others stay.
    const one = await pins(root, 'update', 'libatomic1');
    expect(one.stdout).toMatch(/gcc-14-base: 14\.2\.0-1 -> [\s\S]*\n2 pins moved\n$/);
    expect(textOf(root, 'kernel/sources.ts')).toContain("version: '1.2.3-1'");
    expect(textOf(root, 'packages/x/sources.ts')).toBe(NPM);

    const all = JSON.parse((await pins(root, 'update', '--json')).stdout) as { moved: { id: string }[]; failures: [] };
    expect([all.moved.map(({ id }) => id), all.failures]).toEqual([['fixes', 'old'], []]);
    expect(textOf(root, 'kernel/sources.ts')).toMatch(/^\/\*\* The comment stays\. \*\//);
    const cache = new Cache();
    for (const { id, source } of await readPins(root)) {
      const places = [packagePlaceOf(source)].flatMap((place) => place ?? []);
      const path = await fetchSource(
        cache,
        { ...source, places },
        { signal: context.signal, progress: () => undefined },
      );
      const snapshot = source.places[1] as UrlPlace | undefined;
      if (snapshot) expect(snapshot.url, id).toMatch(new RegExp(`/file/${await hashFile(path, 'sha1')}$`));
    }
    const after = await pins(root, 'check', 'libatomic1', 'gcc-14-base', 'fixes', 'old');
    expect(after).toMatchObject({ status: 0, stdout: expect.stringMatching(/4 pins: 4 newest/) });
    expect(Object.keys(JSON.parse(readFileSync(join(root, RECORD), 'utf8')) as object)).toHaveLength(4);
  });

  it('notes of a pin that is behind until when it was the newest', { timeout: 600_000 }, async () => {
    const root = repository({ 'packages/x/sources.ts': NPM });
    expect((await pins(root, 'check', '--record', 'old')).status).toBe(1);
    const { old } = JSON.parse(readFileSync(join(root, RECORD), 'utf8')) as Record<string, { newest: string }>;
    expect(old).toMatchObject({ version: '1.0.0', newest: expect.stringMatching(/^20\d\d-\d\d-\d\d$/) as string });
    expect(Date.parse(old?.newest ?? '')).toBeLessThan(Date.parse('2026-11-01')); // 1.1.0 came before
  });

  it.each(['reading the changelog', 'fetching fixes'])(
    'leaves everything as it was when it is interrupted while %s',
    { timeout: 600_000 },
    async (words) => {
      const root = repository({ 'kernel/sources.ts': LAYER });
      const before = textOf(root, 'kernel/sources.ts');
      const tmp = temporary();
      vi.stubEnv('TMPDIR', tmp);
      onTestFinished(() => void vi.unstubAllEnvs());
      const { status, stdout, stderr } = await interrupted(root, ['update', 'fixes'], words);
      expect({ status, stdout, left: readdirSync(tmp) }).toEqual({ status: 130, stdout: '', left: [] });
      expect(stderr).toMatch(/pins: interrupted by SIGINT\n$/);
      expect(textOf(root, 'kernel/sources.ts')).toBe(before);
      expect(existsSync(join(root, RECORD))).toBe(false);
    },
  );

  it('does not move a pin that its place does not have, and moves the others', { timeout: 600_000 }, async () => {
    const nowhere = NPM.replace("'bindings'", "'nodeos-no-such-package'").replace("'old'", "'gone'");
    const root = repository({ 'packages/x/sources.ts': nowhere, 'packages/y/sources.ts': NPM });
    const { status, stdout } = await pins(root, 'update');
    expect(status).toBe(1);
    expect(stdout).toMatch(/old: 1\.0\.0 -> 1\.\d+\.\d+ in packages\/y\/sources\.ts/);
    expect(stdout).toMatch(/not moved: gone: npm view nodeos-no-such-package time.*exit status 1/);
    expect(stdout).toMatch(/1 pins moved, 1 could not be\n$/);
    expect(textOf(root, 'packages/x/sources.ts')).toBe(nowhere);
  });
});

describe('the launcher', () => {
  it('is npm run pins', { timeout: 600_000 }, () => {
    const result = spawnSync('npm', ['run', '--silent', 'pins', '--', '--help'], { cwd: ROOT, encoding: 'utf8' });
    expect(result).toMatchObject({ status: 0, stdout: expect.stringMatching(/^Usage: npm run pins check\|update/) });
  });
});

describe('npm', () => {
  it('has the newest stable version of the same line', () => {
    const versions = ['26.9.0', '26.10.0', '26.11.0-rc.1', '27.0.0', '2.99.0', '26.2.11', 'created', 'modified'];
    expect(newestOf(versions, '26.0.0')).toBe('26.10.0');
    expect(newestOf(versions, '25.0.0')).toBeUndefined();
  });

  it('declares a SHA-512, or the pin is refused', () => {
    const digest = Buffer.alloc(64, 7);
    expect(sha512In(`sha1-AAAA sha512-${digest.toString('base64')}`, 'x')).toBe(digest.toString('hex'));
    for (const integrity of ['', 'sha1-AAAA', 'sha512-AAAA'])
      expect(() => sha512In(integrity, 'x')).toThrow('no SHA-512 of x');
  });
});
