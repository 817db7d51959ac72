/** A machine's changes stay valid when its application is replaced: `nodeos start --root nbd --persist`. */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { application, nodeos, temporary } from '../support.js';

const ENV = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };

it('a moved folder of the root does not change when the root changes', async () => {
  const app = await application({ 'main.js': '', 'data/one': '1', 'data/both': 'old' });
  const file = join(await temporary(), 'changes.ext4');
  const run = async (code: string): Promise<unknown> => {
    const { status, stdout, stderr } = await nodeos('start', app, '--root', 'nbd', '--persist', file, '--exec', code);
    expect(status, stderr).toBe(0);
    return JSON.parse(stdout);
  };
  const moved = await run(`
    let code = null;
    try { fs.renameSync('/app/data', '/app/kept'); } catch (error) { code = error.code; }
    if (code === 'EXDEV') { fs.cpSync('/app/data', '/app/kept', { recursive: true }); fs.rmSync('/app/data', { recursive: true }); }
    fs.mkdirSync('/app/new'); fs.renameSync('/app/new', '/app/newer');
    console.log(JSON.stringify(code));`);
  expect(moved).toBe('EXDEV'); // as between filesystems: the folder is copied
  rmSync(join(app, 'data/one'));
  writeFileSync(join(app, 'data/both'), 'new');
  writeFileSync(join(app, 'data/two'), '2');
  const found = await run(`
    const read = (name) => fs.readFileSync('/app/kept/' + name, 'utf8');
    console.log(JSON.stringify([fs.readdirSync('/app/kept').map((name) => [name, read(name)]), fs.readdirSync('/app/newer')]));`);
  expect(found).toEqual([
    [
      ['both', 'old'],
      ['one', '1'],
    ],
    [],
  ]);
  const checked = spawnSync('e2fsck', ['-fn', file], { encoding: 'utf8', env: ENV });
  expect(checked.status, checked.stdout + checked.stderr).toBe(0);
});
