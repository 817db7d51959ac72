/** fs-extra's own tests, with the files of an image below their temporary folder. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Cache, fetchSource } from '@nodeos/engine';
import { describe, expect, it } from 'vitest';
import { FS_EXTRA_TESTS } from '../bench/sources.js';
import { LONG, temporary } from '../support.js';
import { builtKernel, emptyDisk } from './disks.js';

const [WRAPPER, RUNNER] = ['over-linuxfs.js', 'run-mocha.cjs'].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
) as [string, string];

/** What its tests need. */
const PACKAGES = [
  ...['graceful-fs@4.2.11', 'jsonfile@6.1.0', 'universalify@2.0.1'],
  ...[
    'mocha@10.8.2',
    'klaw@2.1.1',
    'klaw-sync@3.0.2',
    'proxyquire@2.1.3',
    'read-dir-files@0.1.1',
    'at-least-node@1.0.0',
    'rimraf@2.7.1',
  ],
];

/** Files and tests whose names have `sync` are of functions that we have not. */
const isOfSync = (name: string): boolean => /sync/i.test(name);
/** It moves from another filesystem of the host, if there is one. */
const isOfTheHost = (name: string): boolean => name.includes('across devices');

interface Outcomes {
  readonly passed: readonly string[];
  readonly failed: Readonly<Record<string, string>>;
}

describe('fs-extra’s own tests', () => {
  it('pass where they pass with the host’s files', { timeout: LONG }, async () => {
    const folder = await temporary();
    const [source, host] = [join(folder, 'source'), join(folder, 'host')];
    for (const path of [source, host]) mkdirSync(path);
    const fetching = { signal: new AbortController().signal, progress: () => undefined };
    const archive = await fetchSource(new Cache(), FS_EXTRA_TESTS, fetching);
    execFileSync('tar', ['-xf', archive, '-C', source, '--strip-components=1', '--no-same-owner']);
    const options = ['--no-audit', '--no-fund', '--no-save', '--ignore-scripts'];
    execFileSync('npm', ['install', '--prefix', folder, ...options, ...PACKAGES], { cwd: folder, stdio: 'pipe' });
    const all = readdirSync(join(source, 'lib'), { recursive: true, encoding: 'utf8' });
    const files = all.filter((path) => path.endsWith('.test.js') && !isOfSync(path));

    const run = async (before: readonly string[]): Promise<Outcomes> => {
      const told = { folder: source, files: files.map((path) => join(source, 'lib', path)) };
      const env = { ...process.env, TMPDIR: host, NODEOS_MOCHA: JSON.stringify(told), NODE_OPTIONS: '' };
      const { stdout } = await promisify(execFile)(process.execPath, [...before, RUNNER], { cwd: source, env });
      return JSON.parse(stdout) as Outcomes;
    };
    const onHost = await run([]);
    const ours = await run([WRAPPER, await builtKernel(), emptyDisk(folder, 'ext4'), join(host, 'fs-extra')]);
    const failed = Object.entries(ours.failed).filter(
      ([name]) => onHost.passed.includes(name) && !isOfSync(name) && !isOfTheHost(name),
    );
    expect(failed).toEqual([]);
    expect(ours.passed.filter((name) => !isOfSync(name)).length).toBeGreaterThan(300);
  });
});
