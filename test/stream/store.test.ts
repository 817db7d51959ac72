/** `nodeos start --root store:STORE:NAME`: a machine whose root is an image in a store. */
import { randomBytes } from 'node:crypto';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { application, freePort, nodeos, request, start, temporary } from '../support.js';

describe('a machine with a root in a store', () => {
  it('is pushed with its application, and started again without it, by what its first start has read', async () => {
    const folder = await temporary();
    const key = join(folder, 'tenant.key');
    await writeFile(key, `tenant ${randomBytes(32).toString('base64')}\nsalt ${randomBytes(32).toString('base64')}\n`);
    await chmod(key, 0o600);
    const env = { NODEOS_STORE_KEY: key, NODEOS_STORE_CACHE: join(folder, 'cache') };
    const data = randomBytes(400_000).toString('hex');
    const app = await application({
      'main.js': `const data = require('fs').readFileSync('/app/data'); require('http').createServer((_, response) => response.end(data)).listen(80);`,
      data,
    });
    const root = ['--root', `store:${join(folder, 'store')}:app`];
    const answers = async (...args: string[]): Promise<string> => {
      const port = await freePort();
      const machine = start(['start', ...args, ...root, '--publish', `${port}:80`], { env });
      expect(await (await request(`http://127.0.0.1:${port}`)).text()).toBe(data);
      machine.child.kill('SIGINT');
      const { status, stderr } = await machine.ended;
      expect(status).toBe(130);
      return stderr;
    };
    const first = await answers(app);
    expect(first).toMatch(/chunks are new/);
    expect(first).toMatch(/the start list has \d+ of \d+ blocks/);
    const second = await answers();
    expect(second).not.toMatch(/the start list|chunks are new/);
    const recipe = await readFile(join(folder, 'store/recipes/app'), 'latin1');
    expect(recipe).toMatch(/"cipher":"aes-256-ctr","filesystem":"erofs"/);
  });

  it.each([
    [['start', '--root', 'store:/nowhere'], 2, /expected STORE:NAME/],
    [['start', '--root', 'store:/nowhere:app'], 1, /has no image "app"/],
    [['start', '--root', 'store:/nowhere:app', '--no-network'], 2, /no root without a network/],
  ])('%j is refused before the machine starts', async (args, status, message) => {
    const found = await nodeos(...args);
    expect([found.status, found.stderr]).toEqual([status, expect.stringMatching(message)]);
  });
});
