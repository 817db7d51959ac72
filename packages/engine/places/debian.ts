/**
 * Debian source and binary packages, fetched with the host's apt, which knows the mirror, the proxy and the
 * credentials. Apt writes only to a private folder. So no root is needed and the host's package lists stay unchanged.
 * The mirror comes from the host's configuration, the suite from the place.
 *
 * For a build, the lists' signatures are not checked, because an older host lacks the keys of a newer suite. The
 * fetched file is checked against its pinned checksum instead. Code that creates a pin asks for signed lists.
 */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, NodeosError, sha256 } from '@nodeos/base';
import { withLock } from '../lock.js';
import { run } from '../run.js';
import type { DebianPlace } from '../source.js';
import type { FetchContext, PlaceKind } from './place-kind.js';

const APT_HELPER = '/usr/lib/apt/apt-helper';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** Lists younger than this are not fetched again when a version is missing from them. */
const FRESH_MS = 10 * 60 * 1000;

export const debian: PlaceKind = {
  matches: (place) => 'debian' in place,
  describe(place) {
    const { package: name, version, suite, member } = (place as DebianPlace).debian;
    return `Debian ${suite}, ${member === undefined ? 'package' : 'source package'} ${name} ${version}`;
  },
  async download(place, path, context) {
    const wanted = (place as DebianPlace).debian;
    const apt = await privateApt(wanted, context);
    const { uri, available } = await apt.exclusive(async () => {
      if (!(await offers(apt.run, wanted))) await apt.refresh();
      return findUri(apt.run, wanted);
    });
    try {
      await apt.run(APT_HELPER, ['download-file', uri, path]);
    } catch (error) {
      context.signal.throwIfAborted();
      if (available === wanted.version || !(error instanceof NodeosError)) throw error;
      throw new NodeosError(await absence(wanted, available), { lines: error.lines });
    }
  },
};

/** Why the mirrors lack the version. Security updates appear in their own suite first, which a host may leave out. */
async function absence({ suite }: DebianPlace['debian'], available: string): Promise<string> {
  const suites = parseMirrors(await hostSources()).flatMap((mirror) => mirror.suites);
  const lack = suites.some((name) => name.endsWith('-security')) ? '' : `, and none of them is for ${suite}-security`;
  return `the mirrors of /etc/apt have ${available} instead${lack}`;
}

export interface Apt {
  /** Runs a program of apt in the private folder. @returns its standard output */
  readonly run: AptRunner;
  /** Fetches the package lists, unless they are fresh. Call it only inside `exclusive`. */
  refresh(): Promise<void>;
  /** Runs `work` while no other process can change the lists. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
}

type AptRunner = (command: string, args: readonly string[]) => Promise<string>;

export interface Archive {
  readonly suite: string;
  /** Architecture of the packages. Default: the host's, which includes packages for every machine (`all`). */
  readonly arch?: string;
  /** The part of the archive. Default: `main`. */
  readonly component?: string;
  /** Whether the lists must be signed by the archive. Default: false. */
  readonly signed?: boolean;
  /** Default: the host's mirrors. */
  readonly mirrors?: readonly Mirror[];
}

/**
 * An apt for the archive's suite. It writes only below `context.home`.
 * @throws NodeosError if the host has no Debian mirror
 */
export async function privateApt(
  { suite, component = 'main', arch, signed = false, ...archive }: Archive,
  context: Omit<FetchContext, 'maxBytes'>,
): Promise<Apt> {
  const mirrors = archive.mirrors ?? parseMirrors(await hostSources());
  if (mirrors.length === 0) throw new NodeosError('the host has no Debian mirror in /etc/apt');
  const list = sourcesList(mirrors, suite, { component, signed });
  const foreign = arch === undefined || arch === 'all' || arch === HOST_ARCH ? undefined : arch;
  const dir = join(context.home, 'apt', sha256(list + (foreign ?? '')).slice(0, 12));
  await mkdir(join(dir, 'lists', 'partial'), { recursive: true });
  await mkdir(join(dir, 'cache', 'archives', 'partial'), { recursive: true });
  await writeFile(join(dir, 'sources.list'), list);
  const options = aptOptions(dir, foreign);
  const apt: AptRunner = async (command, args) => {
    const settings = { cwd: dir, environment: 'host', signal: context.signal, onLine: context.progress } as const;
    return (await run(command, [...options, ...args], settings)).stdout;
  };
  const refresh = async (): Promise<void> => {
    const age = Date.now() - ((await stat(join(dir, 'updated')).catch(() => undefined))?.mtimeMs ?? 0);
    if (age <= FRESH_MS) return;
    context.progress(`reading the package lists of ${suite}`);
    // Without this mode, apt silently keeps the old lists when it rejects the new ones.
    await apt('apt-get', ['update', ...(signed ? ['-o', 'APT::Update::Error-Mode=any'] : [])]);
    await writeFile(join(dir, 'updated'), '');
  };
  return { run: apt, refresh, exclusive: (work) => withLock(join(dir, 'lock'), context, work) };
}

/** Debian's name of this machine's architecture. */
const HOST_ARCH = { x64: 'amd64', arm64: 'arm64' }[process.arch as string];

async function offers(apt: AptRunner, wanted: DebianPlace['debian']): Promise<boolean> {
  return (await versionsOf(apt, wanted)).includes(wanted.version);
}

async function versionsOf(apt: AptRunner, { package: name, member }: DebianPlace['debian']): Promise<string[]> {
  const kind = member === undefined ? 'Packages' : 'Sources';
  const lines = (await apt('apt-cache', ['madison', name])).split('\n').filter((line) => line.endsWith(kind));
  return lines.map((line) => line.split('|')[1]?.trim() ?? '');
}

/** Where the file is; and the version that the lists have, which may be another. */
async function findUri(
  apt: AptRunner,
  wanted: DebianPlace['debian'],
): Promise<{ readonly uri: string; readonly available: string }> {
  const { package: name, version, member, suite, arch } = wanted;
  const offered = await versionsOf(apt, wanted);
  const available = offered.includes(version) ? version : offered[0];
  if (available === undefined) throw new NodeosError(`suite ${suite} has no ${name}`);
  const uris =
    member === undefined
      ? await apt('apt-get', [
          'download',
          '--print-uris',
          `${name}${arch === undefined ? '' : `:${arch}`}=${available}`,
        ])
      : await apt('apt-get', ['source', '--print-uris', '--download-only', '--only-source', `${name}=${available}`]);
  const listed = [...uris.matchAll(/^'([^']+)' (\S+)/gm)].map(([, uri, file]) => ({
    uri: uri ?? '',
    file: file ?? '',
  }));
  const exact = available === version && listed.find(({ file }) => member === undefined || file === member);
  if (exact) return { uri: exact.uri, available };
  // The list has moved on, but the pool keeps old files for a while. Look next to the version that the list names.
  const baseUri = listed[0]?.uri.replace(/[^/]*$/, '');
  if (baseUri === undefined || available === version) {
    throw new NodeosError(`${name} ${version} in suite ${suite} has no file ${String(member)}`);
  }
  const epochless = version.replace(/^\d+:/, '');
  return { uri: `${baseUri}${member ?? `${name}_${epochless}_${arch ?? 'amd64'}.deb`}`, available };
}

function aptOptions(dir: string, foreign: string | undefined): string[] {
  const settings = {
    ...(foreign === undefined ? {} : { 'APT::Architecture': foreign, 'APT::Architectures': foreign }),
    'Dir::State': dir,
    'Dir::State::Lists': join(dir, 'lists'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': join(dir, 'cache'),
    // Container images often configure apt to parse all lists again for each query.
    'Dir::Cache::pkgcache': 'pkgcache.bin',
    'Dir::Cache::srcpkgcache': 'srcpkgcache.bin',
    'Dir::Etc::SourceList': join(dir, 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::Etc::Preferences': '/dev/null',
    'Dir::Etc::PreferencesParts': '/dev/null',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
    'APT::Sandbox::User': process.getuid?.() === 0 ? 'root' : '',
    quiet: '1',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

export interface Mirror {
  readonly uri: string;
  readonly suites: readonly string[];
}

/**
 * A sources.list(5) with `suite` in place of the host's suite. `-security` and `-updates` lines follow the host's own.
 */
export function sourcesList(
  mirrors: readonly Mirror[],
  suite: string,
  { component = 'main', signed = false }: Pick<Archive, 'component' | 'signed'> = {},
): string {
  const lines = new Set<string>();
  const trust = signed ? `signed-by=${KEYRING}` : 'trusted=yes';
  for (const { uri, suites } of mirrors) {
    for (const mirrorSuite of suites) {
      const pocket = /-(security|updates)$/.exec(mirrorSuite)?.[0] ?? '';
      if (/-(backports|proposed)/.test(mirrorSuite)) continue;
      for (const type of ['deb', 'deb-src']) lines.add(`${type} [${trust}] ${uri} ${suite}${pocket} ${component}`);
    }
  }
  return [...lines].join('\n') + '\n';
}

/** The Debian mirrors in the contents of sources.list and deb822 `.sources` files (sources.list(5)). */
export function parseMirrors(contents: readonly string[]): Mirror[] {
  return contents.flatMap((content) => [...oneLineMirrors(content), ...deb822Mirrors(content)]).filter(isDebian);
}

/** Other archives, such as a vendor's or Ubuntu's, have no Debian suites. */
const isDebian = ({ uri }: Mirror): boolean => /\/debian(-security)?\/?$/.test(uri);

function oneLineMirrors(content: string): Mirror[] {
  return [...content.matchAll(/^[ \t]*deb[ \t]+(?:\[[^\]\n]*\][ \t]+)?(\S+)[ \t]+(\S+)/gm)].map(
    ([, uri = '', suite = '']) => ({
      uri,
      suites: [suite],
    }),
  );
}

function deb822Mirrors(content: string): Mirror[] {
  // A field continues on the following lines that begin with a space. Comments may stand between them.
  const unfolded = content
    .replace(/\r/g, '')
    .replace(/^#.*\n?/gm, '')
    .replace(/\n[ \t]+(?=\S)/g, ' ');
  return unfolded.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string): string[] =>
      (new RegExp(`^${name}:(.*)$`, 'im').exec(stanza)?.[1] ?? '').split(/\s+/).filter((word) => word !== '');
    const disabled = /^(no|false|without|off|disable)$/i.test(field('Enabled')[0] ?? '');
    if (disabled || !field('Types').includes('deb')) return [];
    return field('URIs').map((uri) => ({ uri, suites: field('Suites') }));
  });
}

/** The contents of the host's sources.list(5) files. */
export async function hostSources(): Promise<string[]> {
  const parts = '/etc/apt/sources.list.d';
  const names = await readdir(parts).catch(() => [] as string[]);
  const paths = [
    '/etc/apt/sources.list',
    ...names.filter((n) => /\.(list|sources)$/.test(n)).map((n) => join(parts, n)),
  ];
  const read = paths.map((path) =>
    readFile(path, 'utf8').catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return '';
      throw error;
    }),
  );
  return Promise.all(read);
}
