/** Tarballs of npm packages, fetched with npm. Its configuration knows the registry, the proxy and the credentials. */
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sourceLockName } from '../cache.js';
import { NodeosError } from '@nodeos/base';
import { run } from '../run.js';
import { checksumOf, type NpmPlace } from '../source.js';
import type { PlaceKind } from './place-kind.js';

const spec = (place: NpmPlace): string => `${place.npm.package}@${place.npm.version}`;

export const npm: PlaceKind = {
  matches: (place) => 'npm' in place,
  describe: (place) => `npm package ${spec(place as NpmPlace)}`,
  async download(place, path, context) {
    const tmp = join(context.home, 'tmp');
    await mkdir(tmp, { recursive: true });
    const dir = await mkdtemp(join(tmp, `${sourceLockName(checksumOf(place).digest)}-`));
    try {
      const args = ['pack', '--json', '--loglevel=error', '--ignore-scripts', spec(place as NpmPlace)];
      const { stdout } = await run('npm', args, {
        cwd: dir,
        environment: 'host',
        signal: context.signal,
        onLine: context.progress,
      });
      const [packed] = JSON.parse(stdout) as { filename: string }[];
      if (!packed) throw new NodeosError('npm pack named no file');
      // For a scoped package, npm prints a file name with the scope's `@` and `/`, but writes the file without them.
      await rename(join(dir, packed.filename.replace(/^@/, '').replaceAll('/', '-')), path);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  },
};
