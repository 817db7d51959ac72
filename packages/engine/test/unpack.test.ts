/** Sources in their different wrappings, made and unpacked by the real tools. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { run } from '../run.js';
import type { StepContext } from '../step.js';
import { patch, unpack } from '../unpack.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-unpack-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let dir = '';
let count = 0;
beforeEach(() => {
  dir = join(root, String(count++));
  mkdirSync(join(dir, 'work'), { recursive: true });
});

const context = (file: string): StepContext =>
  ({
    work: join(dir, 'work'),
    fetch: () => Promise.resolve(file),
    progress: () => undefined,
    run: (command: string, args: readonly string[], options = {}) =>
      run(command, args, { cwd: join(dir, 'work'), ...options }),
  }) as unknown as StepContext;

async function tarball(): Promise<string> {
  mkdirSync(join(dir, 'code-1.0'));
  writeFileSync(join(dir, 'code-1.0/hello.c'), 'int main(void)\n{\n\treturn 0;\n}\n');
  await run('tar', ['-cJf', join(dir, 'code.tar.xz'), '-C', dir, 'code-1.0']);
  return join(dir, 'code.tar.xz');
}

/** Makes a Debian package with these files. */
async function debianPackage(files: Readonly<Record<string, string>>): Promise<string> {
  for (const [path, from] of Object.entries(files)) {
    mkdirSync(join(dir, 'data', path, '..'), { recursive: true });
    writeFileSync(join(dir, 'data', path), readFileSync(from));
  }
  mkdirSync(join(dir, 'data'), { recursive: true });
  writeFileSync(join(dir, 'debian-binary'), '2.0\n');
  await run('tar', ['-cJf', 'data.tar.xz', '-C', 'data', '.'], { cwd: dir });
  await run('ar', ['rc', 'code.deb', 'debian-binary', 'data.tar.xz'], { cwd: dir });
  return join(dir, 'code.deb');
}

describe('a source', () => {
  it('can be a tarball', async () => {
    const { source, wrapping } = await unpack(context(await tarball()), 'code');
    expect(readFileSync(join(source, 'hello.c'), 'utf8')).toContain('return 0');
    expect(wrapping).toBeUndefined();
  });

  it('can be a tarball in a Debian package that also contains patches', async () => {
    const inner = await tarball();
    const file = await debianPackage({
      'usr/src/code/code-1.0.tar.xz': inner,
      'usr/src/code/debian/patches/a.diff': inner,
    });
    const { source, wrapping } = await unpack(context(file), 'code');
    expect(readFileSync(join(source, 'hello.c'), 'utf8')).toContain('return 0');
    expect(readFileSync(join(wrapping ?? '', 'usr/src/code/debian/patches/a.diff')).equals(readFileSync(inner))).toBe(
      true,
    );
  });

  it('can be unpacked without some of its folders and files', async () => {
    const file = await tarball();
    for (const path of ['gcc/tests/a/b', 'gcc/other/tests/c', 'manual/index', 'manual/part/d']) {
      mkdirSync(join(dir, 'code-1.0', path, '..'), { recursive: true });
      writeFileSync(join(dir, 'code-1.0', path), '');
    }
    await run('tar', ['-cJf', file, '-C', dir, 'code-1.0']);
    const { source } = await unpack(context(file), 'code', { exclude: ['gcc/tests', 'manual/*/*'] });
    const names = readdirSync(source, { recursive: true }).map(String).sort();
    expect(names).toEqual([
      ...['gcc', 'gcc/other', 'gcc/other/tests', 'gcc/other/tests/c'],
      ...['hello.c', 'manual', 'manual/index', 'manual/part'],
    ]);
  });

  it('is rejected if the Debian package has no tarball', async () => {
    const file = await debianPackage({ 'usr/share/doc/code/README': await tarball() });
    await expect(unpack(context(file), 'code')).rejects.toThrow('code.deb: there is no source tarball');
  });

  it('is rejected if it is a file of another kind', async () => {
    writeFileSync(join(dir, 'page.html'), '<html>not found</html>');
    await expect(unpack(context(join(dir, 'page.html')), 'code')).rejects.toThrow(/tar .*page\.html.*exit status/);
  });
});

describe('a patch', () => {
  const diff = (before: string, after: string): string =>
    `--- a/hello.c\n+++ b/hello.c\n@@ -1,4 +1,4 @@\n int main(void)\n {\n-\treturn ${before};\n+\treturn ${after};\n }\n`;

  it('is applied, or rejected with the output of the tool', async () => {
    const work = context(await tarball());
    const { source } = await unpack(work, 'code');
    writeFileSync(join(dir, 'good.patch'), diff('0', '1'));
    await patch(work, source, join(dir, 'good.patch'));
    expect(readFileSync(join(source, 'hello.c'), 'utf8')).toContain('return 1');
    writeFileSync(join(dir, 'bad.patch'), diff('7', '9'));
    const error: unknown = await patch(work, source, join(dir, 'bad.patch')).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      message: expect.stringMatching(/patch .*bad\.patch.*exit status 1/) as string,
      lines: expect.arrayContaining([expect.stringContaining('FAILED')]) as string[],
    });
  });
});
