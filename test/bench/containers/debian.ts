/** Debian as a tar archive: the release as it came out, or with the updates that it has had since. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '@nodeos/engine';
import { bootstrap, runApt, settings, type Host, type RootOptions } from '../distribution/debian.js';

/** What people put into such an image, beside what Node.js needs. */
const PACKAGES = [
  ...['ca-certificates', 'libatomic1', 'libstdc++6', 'tzdata', 'procps', 'iproute2', 'curl', 'gnupg'],
  ...['openssh-client', 'git', 'python3', 'xz-utils'],
];

export interface DebianArchives {
  readonly release: string;
  /** After `apt-get dist-upgrade` with all sources of the host. */
  readonly upgraded: string;
  /** Of the upgrade. */
  readonly changedPackages: number;
}

/** Makes both. The same mirrors, in the same state, give the same bytes. */
export async function debianArchives(work: string, host: Host, options: RootOptions): Promise<DebianArchives> {
  const root = join(work, 'root');
  const [release, upgraded] = [join(work, 'release.tar'), join(work, 'upgraded.tar')];
  await bootstrap(root, host, options);
  const install = ['install', '--no-install-recommends', ...PACKAGES];
  await runApt(root, `deb ${host.mirror} ${host.suite} main\n`, [install], options);
  const before = await packagesOf(root, options);
  await archive(root, release, options);
  await runApt(root, host.sources, [['dist-upgrade', '--no-install-recommends']], options);
  const after = await packagesOf(root, options);
  await archive(root, upgraded, options);
  await rm(root, { recursive: true });
  const changedPackages = [...after].filter((line) => !before.has(line)).length;
  options.progress(`${after.size} packages, of which ${changedPackages} have changed`);
  return { release, upgraded, changedPackages };
}

/** Lines of name and version. */
async function packagesOf(root: string, options: RootOptions): Promise<Set<string>> {
  const { stdout } = await run('dpkg-query', ['--root', root, '-W'], settings(options));
  return new Set(stdout.trim().split('\n'));
}

/** What is left of the making, and differs each time: devices, lists, caches, logs, copies, and the host's names. */
const LEFT = [
  ...['dev/*', 'run/*', 'tmp/*', 'var/tmp/*', 'var/log/*', 'var/lib/apt/lists/*', 'var/lib/dpkg/*-old', 'etc/*-'],
  ...['var/cache/apt/*', 'var/cache/ldconfig/*', 'var/cache/debconf/*', 'etc/apt/sources.list', 'etc/hostname'],
  ...['etc/resolv.conf', 'etc/machine-id'],
];

/** Owners and modes stay. Files that were made now have the time of the newest list of packages. */
async function archive(root: string, path: string, options: RootOptions): Promise<void> {
  await setPasswordDates(join(root, 'etc/shadow'));
  const times = [`--mtime=@${await timeOfLists(root)}`, '--clamp-mtime'];
  const form = ['--format=posix', '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime'];
  const order = ['--sort=name', '--numeric-owner', '--xattrs', '--anchored'];
  const left = LEFT.map((pattern) => `--exclude=./${pattern}`);
  await run('tar', ['-cf', path, ...order, ...times, ...form, ...left, '-C', root, '.'], settings(options));
}

/** In seconds since 1970. */
async function timeOfLists(root: string): Promise<number> {
  const folder = join(root, 'var/lib/apt/lists');
  const names = (await readdir(folder)).filter((name) => name.endsWith('Release'));
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return Math.max(...texts.map((text) => Date.parse(/^Date: (.*)$/m.exec(text)?.[1] ?? '') / 1000));
}

/** The day of the last change is in the third field. */
async function setPasswordDates(path: string): Promise<void> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  await writeFile(path, lines.map((line) => line.replace(/^([^:]*:[^:]*):\d+:/, '$1:19518:')).join('\n'));
}
