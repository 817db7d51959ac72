/** Node.js's own tests of `fs.promises`, with the files of an image below their temporary folder. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cache, fetchSource } from '@nodeos/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LONG } from '../support.js';
import { NODE_TESTS } from '../bench/sources.js';
import { builtKernel, emptyDisk } from './disks.js';

const WRAPPER = fileURLToPath(new URL('over-linuxfs.js', import.meta.url));

/** Tests that are about something else than files, each with the reason. */
const NOT_OURS: Readonly<Record<string, string>> = {
  'file-handle-aggregate-errors': 'replaces methods of Node.js’s own class of handles',
  'file-handle-close-errors': 'replaces methods of Node.js’s own class of handles',
  'file-handle-op-errors': 'replaces methods of Node.js’s own class of handles',
  'file-handle-close': 'counts descriptors that the garbage collector closes',
  'file-handle-read': 'opens with openSync, whose descriptors are the host’s',
  'file-handle-readFile': 'opens with openSync, whose descriptors are the host’s',
  'file-handle-sync': 'copies a file of the host with copyFile',
};
/** `watch` is ENOSYS. */
const isOfWatch = (name: string): boolean => name.startsWith('watch');

let folder: string;
let source: string;
let kernel: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nodeos-test-'));
  source = join(folder, 'node');
  execFileSync('mkdir', [source]);
  const archive = await fetchSource(new Cache(), NODE_TESTS, {
    signal: new AbortController().signal,
    progress: () => undefined,
  });
  const wanted = ['*/test/parallel/test-fs-promises*', '*/test/common/*', '*/test/fixtures/*'];
  const options = ['--strip-components=1', '--no-same-owner', '--wildcards'];
  execFileSync('tar', ['-xf', archive, '-C', source, ...options, ...wanted]);
  kernel = await builtKernel();
}, LONG);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** @returns what it wrote, or undefined if it passed */
async function run(args: readonly string[]): Promise<string | undefined> {
  const env = { ...process.env, NODE_TEST_DIR: join(folder, 'tests'), TEST_THREAD_ID: '0', NODE_OPTIONS: '' };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: source, env, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve(error ? `${stdout}${stderr}` || error.message : undefined),
    );
  });
}

describe('Node.js’s own tests', () => {
  it('pass where they pass with the host’s files', { timeout: LONG }, async () => {
    execFileSync('mkdir', ['-p', join(folder, 'tests')]);
    const image = emptyDisk(folder, 'ext4');
    const files = readdirSync(join(source, 'test/parallel'));
    const outcomes: Record<string, string> = {};
    for (const file of files) {
      const name = /^test-fs-promises-?(.*)\.m?js$/.exec(file)?.[1] ?? file;
      if (NOT_OURS[name] !== undefined || isOfWatch(name)) continue;
      const path = join(source, 'test/parallel', file);
      const flags = /^\/\/ Flags:(.*)$/m.exec(readFileSync(path, 'utf8'))?.[1]?.trim().split(/\s+/) ?? [];
      if ((await run([...flags, path])) !== undefined) continue; // of another version of Node.js
      execFileSync('mkfs.ext4', ['-q', '-F', image]);
      const said = await run([...flags, WRAPPER, kernel, image, join(folder, 'tests/.tmp.0'), path]);
      outcomes[name] = said ?? 'passes';
    }
    expect(Object.entries(outcomes).filter(([, outcome]) => outcome !== 'passes')).toEqual([]);
    expect(Object.keys(outcomes).length).toBeGreaterThan(12);
  });
});
