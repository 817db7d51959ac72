/**
 * Checks the packages as they are published, with publint, Are The Types Wrong, and the compiler. Exit status 1 if one has
 * a problem.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { packAll } from '../release/pack.js';
import { contentProblems } from './contents.js';
import { typeProblems } from './types.js';

const run = promisify(execFile);

/** The packages are ES modules only, which `require` also accepts since Node.js 20.19. */
const INTENDED = new Set(['CJSResolvesToESM']);

/** @param {import('../release/pack.js').Tarball} packed @param {string} folder where it is unpacked to */
async function findingsOf({ file, manifest }, folder) {
  const tarball = await readFile(file);
  const bytes = tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.length);
  const { messages } = await publint({ pack: { tarball: bytes }, level: 'warning' });
  const { problems = [] } = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
  await mkdir(folder, { recursive: true });
  await run('tar', ['-xzf', file, '-C', folder, '--strip-components=1']);
  return [
    ...messages.map((message) => formatMessage(message, manifest) ?? message.code),
    ...problems
      .filter(({ kind, resolutionKind }) => !INTENDED.has(kind) && resolutionKind !== 'node10')
      .map((one) => JSON.stringify(one)),
    ...(await contentProblems(folder, manifest)),
  ].map((line) => `${manifest.name}: ${line}`);
}

const work = await mkdtemp(join(tmpdir(), 'nodeos-published-'));
try {
  const modules = join(work, 'node_modules');
  const tarballs = await packAll({ into: join(work, 'tarballs') });
  const lines = [];
  for (const packed of tarballs) lines.push(...(await findingsOf(packed, join(modules, packed.name))));
  lines.push(...(await typeProblems(work, tarballs.map(({ name }) => name)))); // prettier-ignore
  for (const line of lines) console.log(line);
  process.exitCode = lines.length > 0 ? 1 : 0;
} finally {
  await rm(work, { recursive: true, force: true });
}
