/**
 * What one would do without NodeOS: Debian with its cloud kernel and systemd, the official Node.js binary in
 * /usr/local/bin, and the application as a unit. Everything is what the distribution's tools give by default
 * (recommended packages included); nothing is tuned, for it or against it.
 */
import { chmod, chown, copyFile, cp, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeosError, sha256 } from '@nodeos/base';
import { canonicalJson, hashFile, hashPath, run, withLock } from '@nodeos/engine';
import { bootstrap, hostDistribution, inRoot, runApt, settings, type Host } from './debian.js';

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
  await bootstrap(root, host, options);
  await runApt(root, host.sources, [['dist-upgrade'], ['install', ...PACKAGES]], options);
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
