/** nodeos doctor on this host, and on what this host can be made to look like. */
import { createServer } from 'node:net';
import { once } from 'node:events';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { nodeos, ROOT, start, temporary, type Finished } from '../support.js';
import { openTerminal } from '../terminal.js';

interface Finding {
  readonly name: string;
  readonly state: string;
  readonly found: string;
  readonly remedy?: string;
}

const findingsIn = ({ stdout }: Finished): Finding[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Finding);

const doctor = async (env: Record<string, string>, ...args: string[]): Promise<Finished> =>
  start(['doctor', '--json', ...args], { env }).ended;

const find = (result: Finished, name: string): Finding | undefined =>
  findingsIn(result).find((finding) => finding.name === name);

describe('nodeos doctor', () => {
  it('finds nothing lacking where the tests run', async () => {
    const result = await nodeos('doctor', '--json');
    expect(result.status, result.stdout).toBe(0);
    expect(find(result, 'Node.js')).toMatchObject({
      state: 'ok',
      found: expect.stringContaining(process.versions.node),
    });
    expect(find(result, 'QEMU')?.found).toMatch(/^\d+\.\d+\.\d+ \(qemu-system-x86_64\)$/);
    expect(find(result, 'npm')?.found).toMatch(/^\d+\.\d+\.\d+$/);
    expect(find(result, 'tools')?.found).toContain('libelf headers');
    expect(find(result, 'disk')?.found).toMatch(/free in \//);
    expect(find(result, 'cache')?.found).toMatch(/^(empty|\d+ outputs)/);
  });

  it('says the same of the accelerator as a start does', async () => {
    const { stderr } = await nodeos('start', '--exec', '');
    const reason = /software emulation: (.*)/.exec(stderr)?.[1];
    const found = find(await nodeos('doctor', '--json'), 'accelerator');
    expect(found).toMatchObject(reason === undefined ? { state: 'ok' } : { found: `software emulation: ${reason}` });
  });

  it('names what is lacking, and the command that installs it', async () => {
    const folder = await temporary();
    await symlink(process.execPath, join(folder, 'node'));
    const result = await doctor({ PATH: folder });
    expect(result.status).toBe(1);
    expect(find(result, 'QEMU')).toMatchObject({
      state: 'lacking',
      found: 'no qemu-system-x86_64: runs the images',
      remedy: expect.stringMatching(/install|by hand/),
    });
    for (const need of ['C compiler', 'make', 'flex', 'LZ4', 'npm'])
      expect(find(result, need), need).toMatchObject({ state: 'lacking', remedy: expect.stringMatching(/\w/) });
    expect(find(result, 'libelf headers')).toBeUndefined(); // headers are not in PATH
  });

  it('tells a port that is taken', async () => {
    const server = createServer().listen(8080, '127.0.0.1');
    onTestFinished(() => void server.close());
    // If another program has it already, so much the better.
    await Promise.race([once(server, 'listening'), once(server, 'error')]).catch(() => undefined);
    const result = await nodeos('doctor', '--json');
    expect(result.status).toBe(0);
    expect(find(result, 'port 8080')).toMatchObject({
      state: 'note',
      found: expect.stringContaining('another program has it'),
      remedy: 'publish another one: --publish 8081:80',
    });
  });

  it('asks the remote caches', async () => {
    const [folder, key] = [await temporary(), join(await temporary(), 'key.pem')];
    const trusted = (await nodeos('cache', 'key', key)).stdout.trim();
    const result = await nodeos(
      'doctor',
      '--json',
      '--trust',
      trusted,
      '--remote',
      folder,
      '--remote',
      'http://127.0.0.1:1/',
    );
    expect(result.status).toBe(0);
    const [near, far] = findingsIn(result).filter(({ name }) => name === 'remote cache');
    expect(near).toMatchObject({ state: 'ok', found: expect.stringContaining('answers') });
    expect(far).toMatchObject({
      state: 'note',
      found: expect.stringMatching(/127\.0\.0\.1:1\S* does not answer: .*ECONNREFUSED/),
    });
    const unknown = await nodeos('doctor', '--json', '--trust', trusted, '--remote', 'gopher://host/');
    expect(unknown.status).toBe(1);
  });

  it('refuses a folder that is no cache, and knows an empty one', async () => {
    const refused = await doctor({ NODEOS_CACHE: '/' });
    expect(refused.status).toBe(1);
    expect(find(refused, 'cache')).toMatchObject({
      state: 'lacking',
      found: expect.stringContaining('the root folder'),
    });
    const folder = join(await temporary(), 'not/there/yet');
    const empty = await doctor({ NODEOS_CACHE: folder });
    expect(find(empty, 'cache')).toMatchObject({ state: 'ok', found: `empty: ${folder}` });
    const tried = find(empty, 'accelerator');
    expect(tried?.state).toBe('note'); // there is no kernel to try it with, or no device
  });

  it('takes no operand', async () => {
    expect((await nodeos('doctor', 'house')).status).toBe(2);
  });
});

describe('in a terminal', () => {
  it('breaks long lines between words, and keeps a remedy whole', async () => {
    const terminal = await openTerminal(60, 50);
    const bin = join(ROOT, 'packages/cli/bin/nodeos.js');
    await terminal.type(`clear; node ${bin} doctor; echo status $?`);
    const screen = await terminal.waitForScreen(/status 0/);
    const lines = screen.split('\n');
    const first = lines.findIndex((line) => line.includes('tools  '));
    expect(lines[first]).toMatch(/^ok +tools +C compiler,/);
    expect(lines[first + 1]).toMatch(/^ {8,}\S/);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(60);
  });

  it('has one line for each finding where its output is piped', async () => {
    const { stdout } = await nodeos('doctor');
    for (const line of stdout.trimEnd().split('\n')) expect(line).toMatch(/^(ok|note|lacking) +\S|^ {8,}→ /);
  });
});
