/** The packages that a Debian suite offers, from its signed package lists. */
import { NodeosError } from '@nodeos/base';
import { privateApt, type Apt, type Archive, type DebianPlace } from '@nodeos/engine';
import { compareDebian } from '../debian-version.js';
import { memo } from '../memo.js';
import { changelogOf } from './debian-changelog.js';
import type { Context, PlaceKind } from './index.js';

export const debian: PlaceKind = {
  name: 'Debian',
  matches: (place) => 'debian' in place,
  async query(place, context) {
    const wanted = (place as DebianPlace).debian;
    const { package: name, version: pinned, suite, member } = wanted;
    const apt = await signedApt(wanted, context);
    const offered = (await versionsOf(apt, [name], member === undefined ? 'Packages' : 'Sources')).map(
      (row) => row.version,
    );
    const newest = offered.sort(compareDebian).at(-1);
    if (newest === undefined) throw new NodeosError(`suite ${suite} has no ${name}`);
    const source = async (): Promise<Version> =>
      member === undefined
        ? sources(apt, `${name} ${newest}`, () => sourceOf(apt, name, newest))
        : { name, version: newest };
    return {
      package: name,
      pinned,
      newest,
      family: async () => `Debian ${suite} ${(await source()).name}`,
      compare: compareDebian,
      history: async () => changelogOf(apt, await source(), context),
      async newestPlace() {
        const files = member === undefined ? await binaryFile(apt, name, newest) : await sourceFiles(apt, name, newest);
        const file = files.find((file) => member === undefined || partOf(file.name) === partOf(member));
        if (!file) throw new NodeosError(`${name} ${newest} in suite ${suite} has no file like ${String(member)}`);
        const renamed = member === undefined ? {} : { member: file.name };
        return { debian: { ...wanted, version: newest, ...renamed }, sha256: file.sha256 };
      },
    };
  },
};

const archives = memo<Promise<Apt>>();
const sources = memo<Promise<Version>>();

/** Returns one `Apt` for each archive and run, so that its lists are read only once. */
function signedApt(place: DebianPlace['debian'], context: Context): Promise<Apt> {
  const { suite, component = 'main', arch } = place;
  const archive = { suite, component, signed: true, ...(arch === undefined ? {} : { arch }) };
  return archives(context, `${suite} ${component} ${arch ?? 'all'}`, () => openArchive(archive, context));
}

async function openArchive(archive: Archive, { cache, signal, log }: Context): Promise<Apt> {
  const progress = (line: string): void => {
    if (line.startsWith('reading')) log(line); // omit apt's own output
  };
  const apt = await privateApt(archive, { home: cache.root, signal, progress });
  try {
    await apt.exclusive(() => apt.refresh());
  } catch (error) {
    signal.throwIfAborted();
    const lines = error instanceof NodeosError ? error.lines.filter((line) => /^[EW]: /.test(line)) : [];
    throw new NodeosError(`cannot read the signed package lists of Debian ${archive.suite}`, {
      cause: error,
      lines,
      hint: 'check the network; if a key is missing, install a newer debian-archive-keyring',
    });
  }
  return apt;
}

interface Version {
  readonly name: string;
  readonly version: string;
}

/** The versions of these packages in the lists of binary packages (`Packages`) or of source packages (`Sources`). */
export async function versionsOf(apt: Apt, names: readonly string[], list: 'Packages' | 'Sources'): Promise<Version[]> {
  const rows = (await apt.run('apt-cache', ['madison', ...names])).split('\n').filter((line) => line.endsWith(list));
  return rows
    .map((row) => row.split('|').map((column) => column.trim()))
    .map(([name = '', version = '']) => ({ name, version }))
    .filter(({ name }) => names.includes(name)); // source packages are also listed for their binary packages
}

async function sourceOf(apt: Apt, name: string, version: string): Promise<Version> {
  const [record = {}] = stanzas(await apt.run('apt-cache', ['show', `${name}=${version}`]));
  const [, source = name, own = version] = /^(\S+)(?: \((\S+)\))?$/.exec(record['Source'] ?? name) ?? [];
  return { name: source, version: own };
}

/** The first line of each field, for each stanza (deb822(5)). */
export function stanzas(text: string): Readonly<Record<string, string>>[] {
  return text
    .split(/\n\s*\n/)
    .filter((stanza) => stanza.trim() !== '')
    .map((stanza) => {
      const fields = [...stanza.matchAll(/^([\w-]+): *(.*)$/gm)];
      return Object.fromEntries(fields.map(([, name = '', value = '']) => [name, value]));
    });
}

export interface File {
  readonly uri: string;
  readonly name: string;
  readonly sha256: string;
}

const binaryFile = async (apt: Apt, name: string, version: string): Promise<File[]> =>
  filesIn(await apt.run('apt-get', ['download', '--print-uris', `${name}=${version}`]));

export const sourceFiles = async (apt: Apt, name: string, version: string): Promise<File[]> =>
  filesIn(
    await apt.run('apt-get', ['source', '--print-uris', '--download-only', '--only-source', `${name}=${version}`]),
  );

const filesIn = (uris: string): File[] =>
  [...uris.matchAll(/^'([^']+)' (\S+) \d+ SHA256:([0-9a-f]{64})$/gm)].map(([, uri = '', name = '', sha256 = '']) => ({
    uri,
    name,
    sha256,
  }));

/** The part of a source package that a file is, from its name: `.orig.tar`, `.orig-docs.tar`, `.debian.tar`. */
const partOf = (name: string): string | undefined => /\.(?:orig(?:-[\w-]+)?|debian)\.tar(?=\.\w+$)/.exec(name)?.[0];
