/**
 * QEMU for aarch64 from Debian's next suite, unpacked beside the host's own with all its libraries. It has machines that
 * an older one lacks.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { exists } from '@nodeos/base';
import { Cache, privateApt } from '@nodeos/engine';

const run = promisify(execFile);
const PACKAGE = 'qemu-system-arm';
/** Its libraries come with their own loader. The host's modules are of another version. */
const WRAPPER = `#!/bin/sh
root="$(dirname "$(readlink -f "$0")")/root"
export QEMU_MODULE_DIR=/nonexistent
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \\
  "$root/usr/bin/qemu-system-aarch64" -L "$root/usr/share/qemu" "$@"
`;

/** @returns a folder for PATH whose `qemu-system-aarch64` is the newer one; it stays for the next time */
export async function newerQemu(suite = 'trixie'): Promise<string> {
  const home = new Cache().root;
  const folder = `${home}-qemu-${suite}`; // beside the cache, which knows of no such folder
  if (await exists(folder)) return folder;
  const fresh = `${folder}.${process.pid}`;
  const archives = join(fresh, 'archives');
  await mkdir(join(archives, 'partial'), { recursive: true });
  await mkdir(join(fresh, 'root'));
  const apt = await privateApt({ suite }, { home, signal: new AbortController().signal, progress: () => undefined });
  await apt.exclusive(async () => {
    await apt.refresh();
    const options = ['-o', `Dir::Cache::Archives=${archives}`, '-o', 'APT::Install-Recommends=false'];
    await apt.run('apt-get', [...options, 'install', '-y', '--download-only', PACKAGE]);
  });
  for (const file of (await readdir(archives)).filter((name) => name.endsWith('.deb')))
    await run('dpkg-deb', ['-x', join(archives, file), join(fresh, 'root')]);
  await writeFile(join(fresh, 'qemu-system-aarch64'), WRAPPER, { mode: 0o755 });
  await rm(archives, { recursive: true });
  await rename(fresh, folder);
  return folder;
}
