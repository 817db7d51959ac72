/**
 * Debian of the host's release in a folder: its mirrors are the host's. debootstrap and the chroot run in a mount namespace of
 * their own: their mounts end with their processes, however those end, and the host never sees them.
 */
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, NodeosError } from '@nodeos/base';
import { run } from '@nodeos/engine';

export interface RootOptions {
  readonly signal?: AbortSignal;
  readonly progress: (line: string) => void;
}

/** Without the mode, lists that cannot be fetched are only a warning. */
const UPDATE = ['update', '-o', 'APT::Update::Error-Mode=any'];

/** Makes the folder with what every Debian has. */
export async function bootstrap(root: string, { suite, mirror }: Host, options: RootOptions): Promise<void> {
  await mkdir(root, { recursive: true });
  await chmod(root, 0o755);
  options.progress(`debootstrap: ${suite}`);
  const args = ['--variant=minbase', '--arch=amd64', suite, root, mirror];
  await run('unshare', ['--mount', 'debootstrap', ...args], settings(options));
}

/**
 * Runs apt-get several times in the folder, with the host's way to its mirrors. Services of the packages are not started: there
 * is no systemd that could, or should.
 * @param sources a sources.list(5)
 */
export async function runApt(
  root: string,
  sources: string,
  commands: readonly (readonly string[])[],
  options: RootOptions,
): Promise<void> {
  const policy = join(root, 'usr/sbin/policy-rc.d');
  const conf = join(root, 'tmp/apt.conf');
  await writeFile(policy, '#!/bin/sh\nexit 101\n');
  await chmod(policy, 0o755);
  await writeFile(join(root, 'etc/apt/sources.list'), sources);
  await writeFile(conf, await hostAptSettings(options));
  for (const args of [UPDATE, ...commands, ['clean']])
    await inRoot(root, ['env', 'APT_CONFIG=/tmp/apt.conf', 'apt-get', '-q', '-y', ...args], options);
  await rm(policy);
  await rm(conf);
}

const IN_ROOT = 'mount -t proc proc "$0/proc" && mount -t sysfs sysfs "$0/sys" && exec chroot "$0" "$@"';

export async function inRoot(root: string, command: readonly string[], options: RootOptions): Promise<void> {
  await run('unshare', ['--mount', 'sh', '-c', IN_ROOT, root, ...command], settings(options));
}

/** The caller's environment: it may have a proxy. */
export function settings({ signal, progress }: RootOptions): Parameters<typeof run>[2] {
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    TMPDIR: '/tmp',
    DEBIAN_FRONTEND: 'noninteractive',
  };
  return { environment: 'host', env, onLine: progress, ...(signal ? { signal } : {}) };
}

export interface Host {
  readonly suite: string;
  /** Where debootstrap gets the suite from. */
  readonly mirror: string;
  /** A sources.list(5): the suite with its updates, from the host's mirrors. */
  readonly sources: string;
}

export async function hostDistribution(): Promise<Host> {
  const release = await readFile('/etc/os-release', 'utf8');
  const suite = /^VERSION_CODENAME="?([\w-]+)"?$/m.exec(release)?.[1];
  if (suite === undefined || !/^ID="?debian"?$/m.test(release)) {
    throw new NodeosError('an image of the distribution can be made on a release of Debian only (/etc/os-release)');
  }
  const archives = (await hostSources()).flatMap((text) => [...oneLineArchives(text), ...deb822Archives(text)]);
  // Other archives, of vendors, have suites of the same names: Debian's end like this.
  const debian = archives.filter(({ uri }) => /\/debian(?:-security)?\/?$/.test(uri));
  const pockets = [suite, `${suite}-updates`, `${suite}-security`];
  const found = pockets.flatMap((pocket) => debian.find((archive) => archive.suite === pocket) ?? []);
  const mirror = found.find((archive) => archive.suite === suite)?.uri;
  if (mirror === undefined) throw new NodeosError(`the host has no mirror of Debian ${suite} in /etc/apt`);
  return { suite, mirror, sources: found.map((archive) => `deb ${archive.uri} ${archive.suite} main\n`).join('') };
}

interface Archive {
  readonly uri: string;
  readonly suite: string;
}

function oneLineArchives(text: string): Archive[] {
  const lines = text.matchAll(/^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)/gm);
  return [...lines].map(([, uri = '', suite = '']) => ({ uri, suite }));
}

function deb822Archives(text: string): Archive[] {
  const withoutComments = text.replace(/^#.*\n/gm, '');
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string): string[] =>
      (new RegExp(`^${name}:(.*(?:\\n[ \\t].*)*)`, 'im').exec(stanza)?.[1] ?? '').split(/\s+/).filter(Boolean);
    if (!field('Types').includes('deb') || field('Enabled')[0] === 'no') return [];
    return field('URIs').flatMap((uri) => field('Suites').map((suite) => ({ uri, suite })));
  });
}

async function hostSources(): Promise<string[]> {
  const parts = '/etc/apt/sources.list.d';
  const names = await readdir(parts).catch(() => [] as string[]);
  const paths = names.filter((name) => /\.(list|sources)$/.test(name)).map((name) => join(parts, name));
  const texts = ['/etc/apt/sources.list', ...paths].map((path) =>
    readFile(path, 'utf8').catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return '';
      throw error;
    }),
  );
  return Promise.all(texts);
}

/** How the host's apt reaches its mirrors; used for the making only. */
async function hostAptSettings(options: RootOptions): Promise<string> {
  const { signal } = options;
  const { stdout } = await run('apt-config', ['dump', 'Acquire'], {
    environment: 'host',
    ...(signal ? { signal } : {}),
  });
  const wanted = /^Acquire::(?:https?::(?:Proxy|Timeout)|Check-|Retries)(?!.*Auto-?Detect)/;
  return stdout
    .split('\n')
    .filter((line) => wanted.test(line))
    .map((line) => `${line}\n`)
    .join('');
}
