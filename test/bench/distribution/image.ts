/**
 * What one would do without NodeOS: Debian with its cloud kernel and systemd, the official Node.js binary in
 * /usr/local/bin, and the application as a unit. Everything is what the distribution's tools give by default
 * (recommended packages included); nothing is tuned, for it or against it.
 *
 * The suite is the host's, and so is the mirror. debootstrap and the chroot run in a mount namespace of their own:
 * their mounts end with their processes, however those end, and the host never sees them.
 */
import { chmod, chown, copyFile, cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { codeOf, NodeosError, sha256 } from '@nodeos/base';
import { canonicalJson, hashFile, hashPath, run, withLock } from '@nodeos/engine';

export interface DistributionImage {
  readonly kernel: string;
  readonly initrd: string;
  /** A raw ext4 filesystem, without partitions. */
  readonly disk: string;
}

export interface DistributionOptions {
  /** Finished images are kept here. */
  readonly dir: string;
  /** A Node.js binary for glibc. */
  readonly node: string;
  /** A folder with a package.json. */
  readonly app: string;
  readonly signal?: AbortSignal;
  readonly progress: (line: string) => void;
}

const PACKAGES = [
  ...['systemd', 'systemd-sysv', 'systemd-resolved', 'udev', 'dbus', 'iproute2'],
  ...['linux-image-cloud-amd64', 'initramfs-tools', 'e2fsprogs'],
  ...['ca-certificates', 'libatomic1', 'libstdc++6'],
];

const DISK_SIZE = '1536M';

const FILES: Readonly<Record<string, string>> = {
  'etc/hostname': 'debian\n',
  'etc/hosts': '127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost ip6-localhost ip6-loopback\n',
  'etc/fstab': '/dev/vda / ext4 defaults,errors=remount-ro 0 1\n',
  'etc/systemd/network/80-dhcp.network': '[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n',
  'etc/systemd/system/app.service': `[Unit]
Description=The application
After=network.target

[Service]
User=app
WorkingDirectory=/opt/app
Environment=PORT=80
ExecStart=/usr/local/bin/node .
AmbientCapabilities=CAP_NET_BIND_SERVICE
Restart=on-failure

[Install]
WantedBy=multi-user.target
`,
};

/** Makes the image, unless `dir` has it already. */
export async function distributionImage(options: DistributionOptions): Promise<DistributionImage> {
  if (process.getuid?.() !== 0) throw new NodeosError('an image of the distribution can be made as root only (chroot)');
  if (process.arch !== 'x64')
    throw new NodeosError(`an image of the distribution needs an x64 host, not ${process.arch}`);
  const host = await hostDistribution();
  const key = sha256(
    canonicalJson({
      recipe: await hashFile(fileURLToPath(import.meta.url)),
      sources: host.sources,
      node: await hashFile(options.node),
      app: await hashPath(options.app),
    }),
  );
  const finished = join(options.dir, key);
  const waiting = { onWait: () => options.progress('waiting for another process that makes the same image') };
  const locking = options.signal ? { ...waiting, signal: options.signal } : waiting;
  await withLock(`${finished}.lock`, locking, async () => {
    if (await exists(finished)) return;
    const work = `${finished}.tmp`;
    // One that was killed leaves its folder behind.
    await rm(work, { recursive: true, force: true });
    try {
      await make(work, host, options);
      await rename(join(work, 'image'), finished);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
  return filesIn(finished);
}

const filesIn = (dir: string): DistributionImage => ({
  kernel: join(dir, 'vmlinuz'),
  initrd: join(dir, 'initrd'),
  disk: join(dir, 'disk.raw'),
});

async function make(work: string, host: Host, options: DistributionOptions): Promise<void> {
  const root = join(work, 'root');
  await mkdir(root, { recursive: true });
  await chmod(root, 0o755);
  options.progress(`debootstrap: ${host.suite}`);
  const bootstrap = ['--variant=minbase', '--arch=amd64', host.suite, root, host.mirror];
  await run('unshare', ['--mount', 'debootstrap', ...bootstrap], settings(options));
  await installPackages(root, host, options);
  await writeFiles(root);
  await installApplication(root, options);
  await tidy(root, options);

  const image = join(work, 'image');
  await mkdir(image);
  const files = filesIn(image);
  await copyFile(await onlyFile(join(root, 'boot'), 'vmlinuz-'), files.kernel);
  await copyFile(await onlyFile(join(root, 'boot'), 'initrd.img-'), files.initrd);
  // Every boot begins with this very image: one whose inode tables are written, as on any disk that was used before.
  const ext4 = ['-q', '-F', '-t', 'ext4', '-E', 'lazy_itable_init=0', '-d', root, files.disk, DISK_SIZE];
  options.progress(`mke2fs: ${basename(files.disk)}, ${DISK_SIZE}`);
  await run('mke2fs', ext4, settings(options));
}

async function installPackages(root: string, host: Host, options: DistributionOptions): Promise<void> {
  // Services of the packages are not started while they are installed: there is no systemd that could, or should.
  const policy = join(root, 'usr/sbin/policy-rc.d');
  const conf = join(root, 'tmp/apt.conf');
  await writeFile(policy, '#!/bin/sh\nexit 101\n');
  await chmod(policy, 0o755);
  await writeFile(join(root, 'etc/apt/sources.list'), host.sources);
  await writeFile(conf, await hostAptSettings(options));
  const apt = (...args: string[]): Promise<void> =>
    inRoot(root, ['env', 'APT_CONFIG=/tmp/apt.conf', 'apt-get', '-q', '-y', ...args], options);
  await apt('update');
  await apt('dist-upgrade');
  await apt('install', ...PACKAGES);
  await apt('clean');
  await rm(policy);
  await rm(conf);
}

async function writeFiles(root: string): Promise<void> {
  for (const [path, content] of Object.entries(FILES)) {
    await rm(join(root, path), { force: true });
    await writeFile(join(root, path), content);
    await chmod(join(root, path), 0o644);
  }
}

async function installApplication(root: string, options: DistributionOptions): Promise<void> {
  await copyFile(options.node, join(root, 'usr/local/bin/node'));
  await chown(join(root, 'usr/local/bin/node'), 0, 0);
  await chmod(join(root, 'usr/local/bin/node'), 0o755);
  await cp(options.app, join(root, 'opt/app'), { recursive: true, verbatimSymlinks: true });
  const chroot = (...command: string[]): Promise<void> => inRoot(root, command, options);
  await chroot('chown', '-R', '0:0', '/opt/app');
  await chroot('node', '--version');
  await chroot('useradd', '--system', '--user-group', '--home-dir', '/opt/app', '--shell', '/usr/sbin/nologin', 'app');
  await chroot('systemctl', 'enable', 'systemd-networkd', 'systemd-resolved', 'app');
}

/** What is left of the making: package lists, files of a system that never ran, and the host's name servers. */
async function tidy(root: string, options: DistributionOptions): Promise<void> {
  const folders = ['/run', '/tmp', '/var/tmp', '/var/lib/apt/lists'];
  await inRoot(root, ['find', ...folders, '-mindepth', '1', '-delete'], options);
  await rm(join(root, 'etc/.resolv.conf.systemd-resolved.bak'), { force: true });
  await inRoot(root, ['ln', '-sf', '../run/systemd/resolve/stub-resolv.conf', '/etc/resolv.conf'], options);
}

const IN_ROOT = 'mount -t proc proc "$0/proc" && mount -t sysfs sysfs "$0/sys" && exec chroot "$0" "$@"';

async function inRoot(root: string, command: readonly string[], options: DistributionOptions): Promise<void> {
  await run('unshare', ['--mount', 'sh', '-c', IN_ROOT, root, ...command], settings(options));
}

/** The caller's environment: it may have a proxy. */
function settings({ signal, progress }: DistributionOptions): Parameters<typeof run>[2] {
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    TMPDIR: '/tmp',
    DEBIAN_FRONTEND: 'noninteractive',
  };
  return { environment: 'host', env, onLine: progress, ...(signal ? { signal } : {}) };
}

interface Host {
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
async function hostAptSettings(options: DistributionOptions): Promise<string> {
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

async function onlyFile(dir: string, prefix: string): Promise<string> {
  const names = (await readdir(dir)).filter((name) => name.startsWith(prefix));
  const [name] = names;
  if (name === undefined || names.length > 1)
    throw new NodeosError(`${dir} has ${names.length} files ${prefix}*, not 1`);
  return join(dir, name);
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
