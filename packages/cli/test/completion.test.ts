/** What shells offer, by their own completion. test/cli/shells.test.ts has the same with keys in terminals. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileURLToPath } from 'node:url';

const NODEOS = fileURLToPath(new URL('../bin/nodeos.js', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'nodeos-completion-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const scriptFor = (shell: string): string =>
  execFileSync(process.execPath, [NODEOS, 'completion', shell], { encoding: 'utf8' });

beforeAll(() => {
  for (const shell of ['bash', 'zsh', 'fish']) writeFileSync(join(scratch, shell), scriptFor(shell));
  execFileSync('mkdir', ['-p', join(scratch, 'place/folder with space')]);
  writeFileSync(join(scratch, 'place/file.img'), '');
});

/** The words that bash splits a line into: it takes `=` and `:` as words of their own. */
const BASH = `source ../bash
COMP_WORDS=("$@"); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _nodeos; printf '%s\\n' "\${COMPREPLY[@]}"`;

function offeredByBash(line: string): string[] {
  const words = line
    .split(' ')
    .flatMap((word) => (word.includes('=') ? [word.split('=')[0] ?? '', '=', word.split('=')[1] ?? ''] : [word]));
  const shown = words.filter((word, index) => !(word === '' && words[index - 1] === '='));
  const args = ['--norc', '--noprofile', '-c', BASH, 'bash', ...shown];
  return execFileSync('bash', args, { cwd: join(scratch, 'place'), encoding: 'utf8' })
    .split('\n')
    .filter(Boolean);
}

function offeredByFish(line: string): string[] {
  const code = `source ../fish; complete -C ${JSON.stringify(line)}`;
  const { stdout, stderr } = spawnSync('fish', ['--no-config', '-c', code], {
    cwd: join(scratch, 'place'),
    encoding: 'utf8',
    env: { ...process.env, HOME: scratch, XDG_CONFIG_HOME: scratch, XDG_DATA_HOME: scratch },
  });
  expect(stderr).toBe('');
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((row) => row.split('\t')[0] ?? '');
}

const SHELLS = [
  ['bash', offeredByBash],
  ['fish', offeredByFish],
] as const;

describe.each(SHELLS)('%s offers', (shell, offered) => {
  it.each([
    ['commands', 'nodeos ', ['start', 'build', 'cache', 'nbd', 'doctor', 'completion']],
    ['actions', 'nodeos cache ', ['ls', 'verify', 'prune', 'pull', 'push', 'key']],
    ['actions that begin so', 'nodeos nbd se', ['serve']],
    ['options', 'nodeos start --mem', ['--memory']],
    ['options of an action', 'nodeos nbd serve --read', ['--read-only']],
    ['targets', 'nodeos start --target a', ['aarch64', 'armv7']],
    ['targets, by the short option', 'nodeos build -t x', ['x86_64']],
    ['boards', 'nodeos start --machine ', ['q35', 'microvm', 'virt', 'raspi3', 'raspi4']],
    ['alternatives', 'nodeos build --libc ', ['musl', 'glibc']],
    ['formats', 'nodeos build --format q', ['qcow2', 'qemu']],
    ['another format after a comma', 'nodeos build --format disk,vm', ['disk,vmdk']],
    ['layers', 'nodeos build initramfs-', ['initramfs-base', 'initramfs-stream']],
    ['steps', 'nodeos cache push out --only archive-r', ['archive-runtime']],
    ['shells', 'nodeos completion ', ['bash', 'zsh', 'fish']],
    ['verbs', 'nodeos toolchain ', ['build', 'path', 'env', 'run']],
  ])('%s', (_, line, expected) => {
    expect(offered(line)).toEqual(expect.arrayContaining(expected));
    const word = line.split(' ').at(-1) ?? '';
    for (const name of offered(line)) expect(name.startsWith(word.replace(/[^,]*$/, ''))).toBe(true);
  });

  it('what begins with the word, and nothing else', () => {
    expect(offered('nodeos st')).toEqual(['start', 'store']);
    expect(offered('nodeos start --mem')).toEqual(['--memory']);
    expect(offered('nodeos nbd serve --memo')).toEqual([]);
    expect(offered('nodeos start --exec ')).toEqual([]);
  });

  it('values behind an equals sign', () => {
    const values = offered('nodeos start --target=aa').map((value) => value.replace(/^--target=/, ''));
    expect(values).toEqual(['aarch64']);
  });

  it('files and folders', () => {
    expect(offered('nodeos nbd serve f').map((name) => name.replace(/\/$/, '').replace('\\', ''))).toEqual(
      expect.arrayContaining(['file.img', expect.stringMatching(/^folder.*with.*space$/)]),
    );
    const folders = offered('nodeos start ');
    expect(folders.join()).toMatch(/folder/);
    expect(folders.join()).not.toContain('file.img');
    expect(offered('nodeos flash ').join()).toMatch(/disk/);
    expect(offered('nodeos flash ').join()).toContain('file.img');
  });

  it(`nothing that ${shell} finds wrong`, () => {
    const check = spawnSync(shell, ['-n', join(scratch, shell)], { encoding: 'utf8' });
    expect({ status: check.status, stderr: check.stderr }).toEqual({ status: 0, stderr: '' });
  });
});

describe('zsh', () => {
  it('finds nothing wrong with its script', () => {
    const check = spawnSync('zsh', ['-n', join(scratch, 'zsh')], { encoding: 'utf8' });
    expect({ status: check.status, stderr: check.stderr }).toEqual({ status: 0, stderr: '' });
  });
});
