/** Files that hold what a machine does or keeps are for their owner, and are written where nobody put a link before. */
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { openTrace } from '@nodeos/disk';
import { openUpper } from '../upper.js';

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'nodeos-cli-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  const mask = process.umask(0);
  onTestFinished(() => void process.umask(mask));
  return path;
}

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

it('the image of what a machine changes', async () => {
  const dir = await folder();
  const [path, other] = [join(dir, 'changes.ext4'), join(dir, 'other')];
  await writeFile(other, 'of the user');
  await symlink(other, `${path}.partial`);
  const upper = await openUpper(path);
  await upper.close();
  expect(await modeOf(path)).toBe('600');
  expect(await readFile(other, 'utf8')).toBe('of the user');
});

it('a trace', async () => {
  const path = join(await folder(), 'trace');
  await (await openTrace(path, [])).close();
  expect(await modeOf(path)).toBe('600');
});
