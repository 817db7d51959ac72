/**
 * Reads the changelog of a source package from its `.debian.tar` file. Mirrors do not always have that file for a new
 * version. In that case, it is read from a binary package of the same source, smallest package first.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { messageOf, NodeosError } from '@nodeos/base';
import { hashFile, run, type Apt } from '@nodeos/engine';
import { parseChangelog, type Release } from '../changelog.js';
import { memo } from '../memo.js';
import { sourceFiles, stanzas, versionsOf, type File } from './debian.js';
import type { Context } from './index.js';

const APT_HELPER = '/usr/lib/apt/apt-helper';
/** Small packages often only have a link to another package's changelog, so one package is not enough. */
const PACKAGES_TO_TRY = 5;
const MAX_CHANGELOG = 64 << 20;

interface SourcePackage {
  readonly name: string;
  readonly version: string;
}

const changelogs = memo<Promise<Release[]>>();

/** @throws NodeosError listing the failed files */
export function changelogOf(apt: Apt, source: SourcePackage, context: Context): Promise<Release[]> {
  return changelogs(apt, `${source.name} ${source.version}`, () => find(apt, source, context));
}

async function find(apt: Apt, source: SourcePackage, { signal, log }: Context): Promise<Release[]> {
  log(`reading the changelog of ${source.name} ${source.version}`);
  const dir = await mkdtemp(join(tmpdir(), 'nodeos-pins-'));
  const failures: string[] = [];
  try {
    for (const { file, read } of await holders(apt, source)) {
      try {
        return parseChangelog(await read(await fetchFile(apt, file, dir), dir));
      } catch (error) {
        signal.throwIfAborted();
        failures.push(`${file.name}: ${messageOf(error)}`);
      }
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  throw new NodeosError(`no changelog of ${source.name} ${source.version} was found`, { lines: failures });
}

interface Holder {
  readonly file: File;
  readonly read: (path: string, dir: string) => Promise<string>;
}

async function holders(apt: Apt, { name, version }: SourcePackage): Promise<Holder[]> {
  const changes = (await sourceFiles(apt, name, version)).filter((file) => /\.debian\.tar\.\w+$/.test(file.name));
  const packages = await smallestPackages(apt, name, version);
  return [
    ...changes.map((file) => ({ file, read: fromTarball })),
    ...packages.map((file) => ({ file, read: fromPackage })),
  ];
}

async function fromTarball(path: string): Promise<string> {
  return (await run('tar', ['-xOf', path, 'debian/changelog'])).stdout;
}

async function fromPackage(path: string, dir: string): Promise<string> {
  const into = await mkdtemp(join(dir, 'package-'));
  await run('dpkg-deb', ['--extract', path, into]);
  const names = await readdir(into, { recursive: true });
  const changelog = names.find((name) => /^usr\/share\/doc\/[^/]+\/changelog\.Debian\.gz$/.test(name));
  if (changelog === undefined) throw new NodeosError('it has no changelog');
  return gunzipSync(await readFile(join(into, changelog)), { maxOutputLength: MAX_CHANGELOG }).toString('utf8');
}

async function smallestPackages(apt: Apt, name: string, version: string): Promise<File[]> {
  const sources = stanzas(await apt.run('apt-cache', ['showsrc', '--only-source', name]));
  const binaries = sources.find((stanza) => stanza['Version'] === version)?.['Binary']?.split(/[\s,]+/) ?? [];
  const offered = (await versionsOf(apt, binaries, 'Packages')).filter((row) => row.version === version);
  if (offered.length === 0) return [];
  const specs = [...new Set(offered.map((row) => `${row.name}=${version}`))];
  const records = stanzas(await apt.run('apt-cache', ['show', ...specs])).filter(({ Version }) => Version === version);
  const bySize = records.sort((a, b) => Number(a['Size']) - Number(b['Size'])).slice(0, PACKAGES_TO_TRY);
  const uris = await apt.run('apt-get', [
    'download',
    '--print-uris',
    ...bySize.map(({ Package }) => `${String(Package)}=${version}`),
  ]);
  return bySize.flatMap(({ Filename = '', SHA256 = '' }) => {
    const uri = [...uris.matchAll(/^'([^']+)'/gm)]
      .map(([, link = '']) => link)
      .find((link) => decodeURIComponent(link).endsWith(Filename));
    return uri === undefined ? [] : [{ uri, name: basename(Filename), sha256: SHA256 }];
  });
}

async function fetchFile(apt: Apt, { uri, name, sha256 }: File, dir: string): Promise<string> {
  const path = join(dir, basename(name));
  await apt.run(APT_HELPER, ['download-file', uri, path]);
  const actual = await hashFile(path);
  if (actual !== sha256) throw new NodeosError(`wrong sha256: expected ${sha256}, got ${actual}`);
  return path;
}
