/** A package of Debian's next suite with all that it needs, unpacked beside the host's own. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { exists } from '@nodeos/base';
import { Cache, privateApt } from '@nodeos/engine';

const run = promisify(execFile);

/**
 * @param name of the folder that keeps it
 * @param finish adds to the new folder
 * @returns a folder with `root`; it stays for the next time
 */
export async function fromNextSuite(
  name: string,
  packageName: string,
  finish: (folder: string) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  const suite = 'trixie';
  const home = new Cache().root;
  const folder = `${home}-${name}-${suite}`; // beside the cache, which knows of no such folder
  if (await exists(folder)) return folder;
  const fresh = `${folder}.${process.pid}`;
  const archives = join(fresh, 'archives');
  await mkdir(join(archives, 'partial'), { recursive: true });
  await mkdir(join(fresh, 'root'));
  const apt = await privateApt({ suite }, { home, signal: new AbortController().signal, progress: () => undefined });
  await apt.exclusive(async () => {
    await apt.refresh();
    const options = ['-o', `Dir::Cache::Archives=${archives}`, '-o', 'APT::Install-Recommends=false'];
    await apt.run('apt-get', [...options, 'install', '-y', '--download-only', packageName]);
  });
  for (const file of (await readdir(archives)).filter((entry) => entry.endsWith('.deb')))
    await run('dpkg-deb', ['-x', join(archives, file), join(fresh, 'root')]);
  await finish(fresh);
  await rm(archives, { recursive: true });
  await rename(fresh, folder);
  return folder;
}
