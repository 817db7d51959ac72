/** Temporary folders of processes that were killed: processes are started, and really killed. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { replaceFile } from '../replace-file.js';
import { removeLeftovers, temporaryFolder } from '../temporary-folder.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-temporary-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const isRoot = process.getuid?.() === 0;
const [MODULE, REPLACE] = ['temporary-folder', 'replace-file'].map(
  (name) => new URL(`../dist/${name}.js`, import.meta.url).href,
);
const MAKER = `import(${JSON.stringify(MODULE)}).then(async ({ temporaryFolder }) => {
  console.log(await temporaryFolder('test'));
  setInterval(() => {}, 1000);
})`;

/** Replaces a file, and never comes to its end. */
const REPLACER = `import(${JSON.stringify(REPLACE)}).then(({ replaceFile }) =>
  replaceFile(process.argv[1], async (path) => {
    console.log(path.slice(0, -'/file'.length));
    await new Promise(() => setInterval(() => {}, 1000));
  }))`;

/** A process that has a temporary folder, and both. */
async function owner(parent: string, code = MAKER, ...args: string[]): Promise<{ child: ChildProcess; path: string }> {
  const child = spawn(process.execPath, ['--eval', code, ...args], { env: { ...process.env, TMPDIR: parent } });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const path = line.toString().trim();
  writeFileSync(join(path, 'file'), 'x');
  return { child, path };
}

async function killed(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  expect(await exit).toEqual([null, 'SIGKILL']);
}

const leftovers = (parent: string): Promise<string[]> => removeLeftovers(parent, (prefix) => prefix === 'nodeos-test-');

const fresh = (): string => mkdtempSync(join(root, 'tmp-'));

describe.runIf(process.platform === 'linux')('temporary folders', () => {
  it('go with the next process after a kill -9, and stay while their own lives', async () => {
    const parent = fresh();
    const [dead, alive] = [await owner(parent), await owner(parent)];
    expect(dirname(dead.path)).toBe(parent);
    expect(await leftovers(parent)).toEqual([]);
    await killed(dead.child);
    expect(existsSync(join(dead.path, 'file'))).toBe(true);
    const next = await owner(parent);
    expect(readdirSync(parent).sort()).toEqual([alive.path, next.path].map((path) => basename(path)).sort());
  });

  it('of a process whose number has been used again are removed', async () => {
    const parent = fresh();
    const { path } = await owner(parent);
    const earlier = basename(path).replace(/^(nodeos-test-\d+-)\d+/, '$11');
    renameSync(path, join(parent, earlier));
    expect(await leftovers(parent)).toEqual([join(parent, earlier)]);
  });

  it('of a process that nobody has waited for are removed', async () => {
    const parent = fresh();
    // The shell waits for another child than the one that ends.
    const line = '"$0" --eval "$1" & echo $! >&2; exec sleep 60';
    const shell = spawn('sh', ['-c', line, process.execPath, MAKER], { env: { ...process.env, TMPDIR: parent } });
    onTestFinished(() => void shell.kill('SIGKILL'));
    const [[pid], [path]] = (await Promise.all([once(shell.stderr, 'data'), once(shell.stdout, 'data')])) as [
      [Buffer],
      [Buffer],
    ];
    process.kill(Number(pid), 'SIGKILL');
    await expect.poll(() => leftovers(parent)).toEqual([path.toString().trim()]);
  });

  it('are told from links, files, other names, other machines and other users', async () => {
    const parent = fresh();
    const { child, path } = await owner(parent);
    await killed(child);
    const name = basename(path);
    rmSync(path, { recursive: true });
    const elsewhere = join(fresh(), 'elsewhere');
    mkdirSync(elsewhere);
    writeFileSync(join(elsewhere, 'file'), 'of somebody else');
    const variant = (letter: string): string => join(parent, name.slice(0, -1) + letter);
    symlinkSync(elsewhere, variant('l'));
    writeFileSync(variant('f'), '');
    mkdirSync(join(parent, name.replace(/[0-9a-f]{8}(?=-\w{6}$)/, '00000000')));
    mkdirSync(join(parent, 'nodeos-test-abcdef'));
    if (isRoot) {
      mkdirSync(variant('u'));
      chownSync(variant('u'), 12345, 12345);
    }
    const before = readdirSync(parent);
    expect(await leftovers(parent)).toEqual([]);
    expect(readdirSync(parent)).toEqual(before);
    // A link within a folder is removed, and not what it leads to.
    mkdirSync(variant('d'));
    symlinkSync(elsewhere, join(variant('d'), 'link'));
    expect(await leftovers(parent)).toEqual([variant('d')]);
    expect(readdirSync(elsewhere)).toEqual(['file']);
  });

  it('of a file that is being replaced go with the next one of that file, and of no other', async () => {
    const parent = fresh();
    const image = join(parent, 'image');
    const [dead, alive] = [await owner(parent, REPLACER, image), await owner(parent, REPLACER, image)];
    const other = await owner(parent, REPLACER, join(parent, 'image.2'));
    await Promise.all([killed(dead.child), killed(other.child)]);
    expect(readdirSync(dead.path)).toEqual(['file']);
    await replaceFile(image, (path) => writeFile(path, 'whole'));
    expect(readdirSync(parent).sort()).toEqual([basename(alive.path), basename(other.path), 'image'].sort());
  });

  it('have paths that leave room for sockets', async () => {
    const path = await temporaryFolder('vm', { isShort: true });
    onTestFinished(() => rmSync(path, { recursive: true }));
    expect(path.length).toBeLessThan(80);
  });
});
