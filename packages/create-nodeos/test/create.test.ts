import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { main, TEMPLATES } from '../dist/index.js';

let work = '';
beforeAll(async () => void (work = await mkdtemp(join(tmpdir(), 'nodeos-create-'))));
afterAll(() => rm(work, { recursive: true, force: true }));

/** @param answers what is typed on the terminal; undefined for no terminal */
async function create(args: readonly string[], answers?: readonly string[]) {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const output = { stdout: '', stderr: '' };
  stderr.on('data', (chunk) => (output.stderr += String(chunk)));
  const waiting = [...(answers ?? [])];
  stdout.on('data', (chunk) => {
    output.stdout += String(chunk);
    // A person answers when asked.
    if (/\) $/.test(String(chunk))) stdin.write(`${waiting.shift() ?? ''}\n`);
  });
  const status = await main(args, { stdin: Object.assign(stdin, { isTTY: answers !== undefined }), stdout, stderr });
  return { status, ...output };
}

const manifestIn = async (folder: string): Promise<Record<string, Record<string, string>>> =>
  JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as never;

describe('npm create nodeos', () => {
  it.each(TEMPLATES)('--template %s writes an application, and asks nothing', async (template) => {
    const folder = join(work, `My ${template} App`);
    expect(await create([folder, '--template', template])).toMatchObject({ status: 0, stderr: '' });
    const { name, scripts = {}, devDependencies } = await manifestIn(folder);
    expect(name).toBe(`my-${template}-app`);
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['dev', 'start', 'build', 'test']));
    const { version } = await manifestIn(new URL('../../cli', import.meta.url).pathname);
    expect(devDependencies?.['nodeos']).toBe(version);
    expect(await readdir(folder)).toEqual(expect.arrayContaining(['.gitignore', `nodeos.config.${template}`]));
  });

  it('asks on a terminal for what is not given', async () => {
    const folder = join(work, 'asked');
    const { status, stdout } = await create([], [folder, 'ts']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/Folder\? \(my-appliance\) .*Template: js or ts\? \(js\) /s);
    expect(await readdir(folder)).toContain('server.ts');
    const usual = join(work, 'usual');
    await create([usual], ['']);
    expect(await readdir(usual)).toContain('server.js');
  });

  it.each([
    [['a', 'b'], 'one folder, please'],
    [['--wat'], "Unknown option '--wat'"],
    [['new', '--template', 'perl'], '--template perl: there is js and ts'],
  ])('%j is wrong usage', async (args, message) => {
    expect(await create(args)).toMatchObject({ status: 2, stderr: expect.stringContaining(message) });
  });

  it('leaves a folder alone that has files', async () => {
    const folder = join(work, 'full');
    await create([folder]);
    const before = await readdir(folder);
    const { status, stderr } = await create([folder, '--template', 'ts']);
    expect(status).toBe(1);
    expect(stderr).toContain(`${folder} is not empty`);
    expect(await readdir(folder)).toEqual(before);
  });

  it('has help', async () => {
    expect(await create(['--help'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('Usage: npm create nodeos'),
    });
  });
});
