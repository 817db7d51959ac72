/** Files with a machine's activity or data are private to their owner and are not written through a planted link. */
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { openTrace } from '@nodeos/disk';
import { openUpper } from '../upper.js';

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'nodeos-netroot-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  const mask = process.umask(0);
  onTestFinished(() => void process.umask(mask));
  return path;
}

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

it('the image with the changes of a machine is private and not written through a link', async () => {
  const dir = await folder();
  const [path, other] = [join(dir, 'changes.ext4'), join(dir, 'other')];
  await writeFile(other, 'of the user');
  await symlink(other, `${path}.partial`);
  const upper = await openUpper(path);
  await upper.close();
  expect(await modeOf(path)).toBe('600');
  expect(await readFile(other, 'utf8')).toBe('of the user');
});

it('a trace is private', async () => {
  const path = join(await folder(), 'trace');
  await (await openTrace(path, [])).close();
  expect(await modeOf(path)).toBe('600');
});
