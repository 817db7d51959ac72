/**
 * Everything that a release would publish, in a registry on the loopback; the outputs of a start in a folder, signed; and
 * an ordinary user who has installed nodeos into a project.
 */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '@nodeos/engine';
import { packAll, type Tarball } from '../../scripts/release/pack.js';
import { NpmRegistry } from './registry.js';
import { User } from './user.js';

export const SERVER = `import { createServer } from 'node:http';
createServer((request, response) => response.end('hello from ' + process.version)).listen(process.env.PORT);
`;
export const MANIFEST = JSON.stringify({
  ...{ name: 'mine', version: '1.0.0', private: true, type: 'module', main: 'server.js' },
});
/** What a start needs, apart from what is packed in a moment. */
const SHARED = ['kernel', 'runtime-musl', 'init'];

export interface Shop {
  readonly registry: NpmRegistry;
  /** The npmrc of who publishes. */
  readonly publisher: string;
  readonly user: User;
  /** The user's project, with nodeos installed. */
  readonly mine: string;
  /** The folder of outputs, and the key that has signed them. */
  readonly place: string;
  readonly keyFile: string;
  readonly publicKey: string;
}

/** @param work an empty folder */
export async function openShop(work: string): Promise<Shop> {
  await chmod(work, 0o755);
  const registry = await NpmRegistry.start(/^@(nodeos|acme)\/|^(create-)?nodeos$/);
  const publisher = join(work, 'npmrc');
  const { host } = new URL(registry.url);
  await writeFile(publisher, `registry=${registry.url}\n//${host}/:_authToken=test\n`);
  await publish(publisher, await packAll({ into: join(work, 'tarballs') }));
  const settings = `registry=${registry.url}\naudit=false\nfund=false\nupdate-notifier=false\n`;
  const user = await User.withHome(join(work, 'home'), settings);
  const mine = await user.folder('mine', { 'package.json': MANIFEST, 'server.js': SERVER });
  await user.run(mine, {}, 'npm', 'install', '--save-dev', 'nodeos');

  const [keyFile, place] = [join(work, 'key.pem'), join(work, 'shared')];
  const publicKey = (await nodeosCommand('cache', 'key', keyFile)).stdout.trim();
  await nodeosCommand('build', 'kernel', 'usr', 'init');
  await nodeosCommand('cache', 'push', place, '--key', keyFile, ...SHARED.flatMap((step) => ['--only', step]));
  return { registry, publisher, user, mine, place, keyFile, publicKey };
}

/** @param npmrc the configuration of who publishes */
export async function publish(npmrc: string, tarballs: readonly Tarball[]): Promise<void> {
  const waiting = [...tarballs];
  const worker = async (): Promise<void> => {
    for (let next = waiting.pop(); next; next = waiting.pop())
      await run('npm', ['publish', next.file, '--userconfig', npmrc], { environment: 'host' });
  };
  await Promise.all([worker(), worker()]);
}

/** The command of the clone. It must work outside of a test, so its processes are not tied to one. */
async function nodeosCommand(...args: string[]): Promise<{ stdout: string }> {
  const cli = new URL('../../packages/cli/bin/nodeos.js', import.meta.url).pathname;
  return run(process.execPath, [cli, ...args], { environment: 'host' });
}
