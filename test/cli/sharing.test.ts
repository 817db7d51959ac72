/** Outputs shared between machines, in a terminal: what is shown, and where the remote caches come from. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Cache } from '@nodeos/engine';
import { cacheWith, LONG, nodeos, ROOT, start, temporary } from '../support.js';
import { openTerminal } from '../terminal.js';

const NODEOS = `node ${join(ROOT, 'packages/cli/bin/nodeos.js')}`;
const LAYER = 'init';

describe('in a terminal', { timeout: LONG }, () => {
  it('outputs are pushed to a folder, and a project that names it pulls them', async () => {
    expect((await nodeos('build', LAYER)).status).toBe(0);
    const [remote, app, home, cache] = await Promise.all([temporary(), temporary(), temporary(), cacheWith()]);
    const key = join(home, 'release.pem');
    const made = await start(['cache', 'key', key], { env: { HOME: home } }).ended;
    const name = /ed25519:\S+/.exec(made.stdout + made.stderr)?.[0] ?? '';
    const config = { app: '.', remoteCaches: [remote], trustedKeys: [name] };
    await mkdir(app, { recursive: true });
    await writeFile(join(app, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', nodeos: config }));
    await writeFile(join(app, 'index.js'), '');

    const here = await openTerminal(100, 40, { HOME: home, NODEOS_CACHE: new Cache().root });
    await here.type(`clear; ${NODEOS} cache push ${remote} ${LAYER} --only ${LAYER} --key ${key}; echo status $?`);
    expect(await here.waitForScreen(/^status \d/m)).toMatch(/init \(x86_64\): [^]*stored in [^]*status 0/);
    expect(await readdir(join(remote, LAYER, 'x86_64'))).toHaveLength(1);

    const there = await openTerminal(100, 40, { HOME: home, NODEOS_CACHE: cache });
    const pull = `${NODEOS} cache pull ${LAYER} --app ${app}; echo status $?`;
    await there.type(`clear; ${pull}`);
    expect(await there.waitForScreen(/^status \d/m)).toContain(`nodeos cache trust ${name}`);
    await there.type(`clear; ${NODEOS} cache trust ${name}; ${pull}`);
    expect(await there.waitForScreen(/^status \d/m)).toMatch(/init[^]*status 0/);
    expect(await there.hasCursor()).toBe(true);
    expect(await readdir(join(cache, 'steps', LAYER, 'x86_64'))).toHaveLength(1);
    await there.type(`clear; ${pull}`);
    expect(await there.waitForScreen(/^status \d/m)).toMatch(/^status 0$/m);
  });
});
