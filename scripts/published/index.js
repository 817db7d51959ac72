/**
 * Checks the packages as npm would publish them, with publint and Are The Types Wrong. Exit status 1 if they report a
 * problem.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

/** The packages are ES modules only, which `require` also accepts since Node.js 20.19. */
const INTENDED = new Set(['CJSResolvesToESM']);

async function findingsOf(folder, into) {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', into], { cwd: folder });
  const tarball = await readFile(join(into, JSON.parse(stdout)[0].filename));
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const bytes = tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.length);
  const { messages } = await publint({ pack: { tarball: bytes }, level: 'warning' });
  const { problems = [] } = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
  return [
    ...messages.map((message) => formatMessage(message, manifest) ?? message.code),
    ...problems
      .filter(({ kind, resolutionKind }) => !INTENDED.has(kind) && resolutionKind !== 'node10')
      .map((one) => JSON.stringify(one)),
  ].map((line) => `${manifest.name}: ${line}`);
}

const into = await mkdtemp(join(tmpdir(), 'nodeos-published-'));
try {
  const packages = (await readdir(join(ROOT, 'packages'))).map((name) => join(ROOT, 'packages', name));
  const lines = [];
  for (const folder of [...packages, join(ROOT, 'kernel'), join(ROOT, 'initramfs'), join(ROOT, 'bootfs')]) {
    lines.push(...(await findingsOf(folder, into)));
  }
  for (const line of lines) console.log(line);
  process.exitCode = lines.length > 0 ? 1 : 0;
} finally {
  await rm(into, { recursive: true, force: true });
}
