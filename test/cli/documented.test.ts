/** Every command that the README, the guides and the help texts show. */
import { spawn } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { readFileSync } from 'node:fs';
import { parse } from 'nodeos';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, LONG, request, ROOT, start } from '../support.js';
import {
  commandOf,
  documented,
  isOther,
  PAGES,
  pageLines,
  referenceLines,
  shownFiles,
  type Documented,
} from './documented.js';

const CLI = join(ROOT, 'packages/cli/bin/nodeos.js');
const ALL = documented();
const of = (how: Documented['how']): [string, Documented][] =>
  ALL.filter((one) => one.how === how).map((one) => [one.line, one]);
let place = '';

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'nodeos-documented-'));
  await symlink(join(ROOT, 'examples'), join(place, 'examples'));
  await cp(join(ROOT, 'examples/hello/server.js'), join(place, 'server.js'));
  const manifest = { name: 'here', version: '1.0.0', type: 'module', main: 'server.js', files: ['server.js'] };
  await writeFile(join(place, 'package.json'), JSON.stringify(manifest));
  for (const page of PAGES) {
    for (const [path, body] of Object.entries(shownFiles(page))) {
      await mkdir(join(place, dirname(path)), { recursive: true });
      await writeFile(join(place, path), body);
    }
  }
  await mkdir(join(place, 'bin'));
  await writeFile(join(place, 'bin/nodeos'), `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`);
  await writeFile(join(place, 'bin/npx'), '#!/bin/sh\nexec "$@"\n');
  for (const name of ['nodeos', 'npx']) await chmod(join(place, 'bin', name), 0o755);
});
afterAll(() => rm(place, { recursive: true, force: true }));

/** Runs a script in bash, or in the shell that it is for. In the tests' place, `npx nodeos` needs no npm. */
function shell(script: string, cwd = place): Promise<{ status: number | null; output: string }> {
  const [program, ...options] = script.includes('completion zsh') ? ZSH : BASH;
  return new Promise((resolve) => {
    const own = cwd === place ? `${join(place, 'bin')}:` : '';
    const env = { ...process.env, PATH: `${own}${process.env['PATH'] ?? ''}` };
    const child = spawn(program, [...options, `${program === 'zsh' ? COMPINIT : ''}${script}`], {
      cwd,
      env,
      stdio: 'pipe',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('close', (status) => resolve({ status, output }));
  });
}

const BASH = ['bash', '-e', '-o', 'pipefail', '-c'] as const;
const ZSH = ['zsh', '-f', '-e', '-c'] as const;
/** What a person's .zshrc has before. */
const COMPINIT = 'autoload -U compinit; compinit -u -D; ';

/** The words of a line without its redirections. The lines have quotes, but nothing that a shell would expand. */
const wordsOf = (text: string): string[] =>
  (text.replace(/ > .*$/, '').match(/'[^']*'|"[^"]*"|[^\s'"]+/g) ?? []).map((word) =>
    word.replace(/^(['"])(.*)\1$/s, '$2'),
  );

describe('what the pages show', () => {
  it('is a command, or a line of a program that they name', () => {
    const strange = PAGES.flatMap(pageLines).filter((line) => !commandOf(line) && !isOther(line));
    expect(strange.filter((line) => !/^(cd|eval|git)\b/.test(line))).toEqual([]);
  });

  it('names scripts of package.json', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    expect(scripts).toMatchObject({ start: 'node bin/nodeos start', build: 'node bin/nodeos build' });
    const names = PAGES.flatMap(pageLines).flatMap((line) => /^npm (?:run )?(test|start|[\w:]+)/.exec(line)?.[1] ?? []);
    expect(names.length).toBeGreaterThan(5);
    for (const name of names.filter((name) => name !== 'ci')) expect(Object.keys(scripts)).toContain(name);
  });

  it('says why, if it is not run', () => {
    for (const { line, how, why } of ALL)
      if (how === 'parsed' || how === 'explain') expect(why, line).toMatch(/\w+ \w+/);
  });
});

function isUnderstood(line: string): boolean {
  const found = commandOf(line);
  if (!found) return false;
  parse(found.command, wordsOf(found.rest.replace(/\)"?.*$/, ''))); // throws for what it does not know
  return true;
}

describe('its words are understood', () => {
  it.each(of('parsed'))('%s', (line) => {
    expect(isUnderstood(line)).toBe(true);
  });

  it.each(referenceLines())('%s: %s', (_, line) => {
    expect(isUnderstood(line)).toBe(true);
  });
});

describe('it runs', { timeout: LONG }, () => {
  it.each(of('run'))('%s', async (line) => {
    const { status, output } = await shell(line);
    expect(status, output).toBe(0);
  });

  it.each(of('explain'))('%s', async (line) => {
    const { status, output } = await shell(`${line} --explain`);
    expect(status, output).toBe(0);
    expect(output).toMatch(/in the cache|to be built/);
  });
});

describe('its machine answers', { timeout: LONG }, () => {
  it.each(of('application'))('%s', async (line) => {
    const published = / (?:--publish|-p) (?:[\d.]+:)?(\d+):80/.exec(line)?.[1];
    const port = published ?? String(await freePort());
    const [own = '', passed] = line.replace(/^nodeos /, '').split(' -- ');
    const words = [...wordsOf(own), ...(published === undefined ? ['--publish', `${port}:80`] : [])];
    const running = start([...words, ...(passed === undefined ? [] : ['--', ...wordsOf(passed)])], { cwd: place });
    await running.waitForOutput(/is http:\/\/127\.0\.0\.1/);
    expect((await request(`http://127.0.0.1:${port}`)).status).toBeLessThan(500);
    running.child.kill('SIGINT');
    expect((await running.ended).status, running.output.stderr).toBe(130);
  });

  it('in the script for CI', async () => {
    const port = String(await freePort());
    const lines = pageLines('docs/guides/ci.md');
    const first = lines.findIndex((line) => line.includes('machine=$!'));
    const script = lines.slice(first, first + 4).join('\n');
    const moved = script.replace('--restrict', `--restrict --publish ${port}:80`).replace('8080', port);
    const { status, output } = await shell(moved, ROOT); // npx passes signals on in its own way
    expect(status, output).toBe(0);
    expect(output).toContain('Hello from');
  });
});
