/**
 * A Debian with Node.js and QEMU and nothing else: an ordinary user starts an application, and everything that would have
 * to be compiled is fetched.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '@nodeos/engine';
import { hostDistribution } from '../bench/distribution/debian.js';
import { openShop, type Shop } from '../npm/shop.js';
import { freePort, request } from '../support.js';

const SUITES = ['bookworm', 'trixie'];
const NOBODY = 65534;

let work = '';
let shop: Shop;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'nodeos-empty-'));
  shop = await openShop(work);
});
afterAll(async () => {
  shop.user.leave();
  shop.registry.close();
  await rm(work, { recursive: true, force: true });
});

/** Makes the root, with the user's project and the outputs in it. */
async function rootOf(suite: string): Promise<string> {
  const root = join(work, suite);
  const { mirror } = await hostDistribution();
  const include = '--include=ca-certificates,qemu-system-x86';
  await run('unshare', ['--mount', 'debootstrap', '--variant=minbase', include, suite, root, mirror], {
    environment: 'host',
  });
  const npm = dirname(dirname(await realpath(execFileSync('which', ['npm'], { encoding: 'utf8' }).trim())));
  await cp(await realpath(process.execPath), join(root, 'usr/local/bin/node'));
  await cp(npm, join(root, 'usr/local/lib/node_modules/npm'), { recursive: true });
  for (const name of ['npm', 'npx'])
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(root, 'usr/local/bin', name));
  await mkdir(join(root, 'home/user'), { recursive: true });
  await run('cp', ['-a', shop.mine, join(root, 'home/user/mine')]);
  await run('cp', ['-a', shop.place, join(root, 'srv/shared')]);
  await run('chown', [`${NOBODY}:${NOBODY}`, join(root, 'home/user')]);
  return root;
}

describe.each(SUITES)('an empty Debian (%s)', (suite) => {
  it('boots an application without a compiler', async () => {
    const root = await rootOf(suite);
    const port = await freePort();
    const inside = [
      'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"',
      `exec chroot --userspec=${NOBODY}:${NOBODY} "$0" /usr/bin/env -i HOME=/home/user PATH=/usr/local/bin:/usr/bin:/bin "$@"`,
    ].join('; ');
    const variables = ['NODEOS_REMOTE_CACHE=/srv/shared', `NODEOS_TRUSTED_KEYS=${shop.publicKey}`];
    const command = `! command -v gcc && cd ~/mine && exec npx nodeos start . --publish ${port}:80`;
    const machine = spawn('unshare', ['--mount', 'sh', '-c', inside, root, ...variables, 'sh', '-c', command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let output = '';
    for (const stream of [machine.stdout, machine.stderr])
      stream.on('data', (chunk: Buffer) => (output += String(chunk)));
    const ended = once(machine, 'close');
    try {
      const started = performance.now();
      const answer = await Promise.race([
        request(`http://127.0.0.1:${port}/`, {}, 300),
        ended.then(() => Promise.reject(new Error('it ended'))),
      ]);
      expect(await answer.text()).toMatch(/^hello from v26\./);
      console.log(`${suite}: ${((performance.now() - started) / 1000).toFixed(1)} s from nothing to an answer`);
      expect(output).not.toMatch(/^(?:kernel|init|runtime-musl): building/m);
    } catch (error) {
      throw new Error(`${String(error)}\n${output}`, { cause: error });
    } finally {
      if (machine.exitCode === null && machine.pid !== undefined) process.kill(-machine.pid, 'SIGINT');
      await ended;
    }
  });
});
