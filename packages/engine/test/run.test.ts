import { getEventListeners } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LineTail } from '@nodeos/base';
import { printable, run } from '../run.js';
import { rejectionOf, tempDir } from './helpers.js';

describe('run', () => {
  it('uses a clean environment, and the environment of the host only if asked', async () => {
    process.env['NODEOS_TEST_SECRET'] = 'secret';
    onTestFinished(() => void Reflect.deleteProperty(process.env, 'NODEOS_TEST_SECRET'));
    const names = (text: string): string[] =>
      text
        .trim()
        .split('\n')
        .map((line) => line.split('=')[0] ?? '');
    const clean = await run('env', [], { env: { MORE: 'more' } });
    expect(names(clean.stdout).sort()).toEqual(['HOME', 'LC_ALL', 'MORE', 'PATH', 'SOURCE_DATE_EPOCH', 'TZ']);
    const host = await run('env', [], { environment: 'host', env: { MORE: 'more' } });
    expect(names(host.stdout)).toEqual(expect.arrayContaining(['NODEOS_TEST_SECRET', 'MORE']));
  });

  it('sends lines to the listener and appends everything to the log', async () => {
    const log = join(tempDir(), 'log');
    const lines: string[] = [];
    const options = { log, onLine: (line: string) => void lines.push(line) };
    const { stdout } = await run('sh', ['-c', 'echo one; echo; echo two >&2; printf 50%%\\\\r100%%'], options);
    expect(stdout).toBe('one\n\n50%\r100%');
    expect([...lines].sort()).toEqual(['100%', '50%', 'one', 'two']);
    await run('echo', ['three'], options);
    const text = readFileSync(log, 'utf8');
    expect(text).toContain('two\n');
    expect(text).toMatch(/\$ echo three\nthree\n$/);
  });

  it('passes on the input, which is empty by default', async () => {
    expect((await run('cat', [])).stdout).toBe('');
    expect((await run('cat', [], { input: 'given' })).stdout).toBe('given');
    expect((await run('true', [], { input: 'x'.repeat(1 << 20) })).stdout).toBe('');
  });

  it('keeps the end of a huge line and about 16 MiB of output at most', async () => {
    const lines: string[] = [];
    const script = 'head -c 40000000 /dev/zero | tr "\\0" x; echo end';
    const { stdout } = await run('sh', ['-c', script], { onLine: (line) => void lines.push(line) });
    expect(stdout.length).toBeLessThan((16 << 20) + (1 << 20));
    expect(lines.map(({ length }) => length)).toEqual([4096]);
    expect(lines[0]).toMatch(/xend$/);
  });

  it('does not lose the last lines of a program', async () => {
    const { stdout } = await run('seq', ['1', '200000']);
    expect(stdout.endsWith('\n199999\n200000\n')).toBe(true);
  });

  const failures: Record<string, [string, string[], RegExp, RegExp | undefined]> = {
    'an exit status': ['sh', ['-c', 'exit 3'], /^sh -c 'exit 3': exit status 3$/, undefined],
    'a signal': ['sh', ['-c', 'kill -9 $$'], /: ended by SIGKILL$/, undefined],
    'a missing program': ['no-such-tool', [], /^no-such-tool: it was not found$/, /no-such-tool is not installed/],
    'a missing program in a script': ['sh', ['-c', 'no-such-tool'], /exit status 127$/, undefined],
    'a full disk': [
      'sh',
      ['-c', 'echo "cc: No space left on device"; exit 1'],
      /exit status 1$/,
      /no space left.*prune/,
    ],
  };
  it.each(Object.entries(failures))('reports %s', async (_name, [command, args, message, hint]) => {
    const error = await rejectionOf(run(command, args));
    expect(error.message).toMatch(message);
    if (hint) expect(error.hint).toMatch(hint);
    else expect(error.hint).toBeUndefined();
  });

  it('reports a missing program even if a PATH folder is not a folder or not searchable', async () => {
    const before = process.env['PATH'] ?? '';
    onTestFinished(() => void (process.env['PATH'] = before));
    const closed = join(tempDir(), 'closed');
    await mkdir(closed, { mode: 0 });
    process.env['PATH'] = `${closed}:/nonexistent:${before}`;
    await expect(run('no-such-tool', [])).rejects.toThrow('no-such-tool: it was not found');
    await run('true', []);
  });

  it('takes the statuses that it is told for no failure', async () => {
    expect(await run('sh', ['-c', 'echo said; exit 4'], { statuses: [0, 4] })).toMatchObject({
      status: 4,
      stdout: 'said\n',
    });
    await expect(run('sh', ['-c', 'exit 5'], { statuses: [0, 4] })).rejects.toThrow('exit status 5');
    await expect(run('true', [], { statuses: [4] })).rejects.toThrow('exit status 0');
    await expect(run('sh', ['-c', 'kill -9 $$'], { statuses: [0, 4] })).rejects.toThrow('SIGKILL');
  });

  it('reports a missing working folder', async () => {
    await expect(run('true', [], { cwd: '/nonexistent' })).rejects.toThrow(
      'true: its working folder /nonexistent does not exist',
    );
  });

  it('limits the log of a tool to 64 MiB', async () => {
    const log = join(tempDir(), 'log');
    await run('sh', ['-c', 'yes "$(printf %4000s | tr " " x)" | head -c 80000000'], { log });
    expect(statSync(log).size).toBeLessThan((64 << 20) + 1000);
    expect(readFileSync(log, 'latin1').slice(-100)).toContain('no more is kept');
  });

  it('continues if its log cannot be written', async () => {
    expect((await run('echo', ['ok'], { log: '/nonexistent/log' })).stdout).toBe('ok\n');
  });

  it('starts nothing once aborted and leaves no listener', async () => {
    const file = join(tempDir(), 'file');
    await expect(run('touch', [file], { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
    expect(() => readFileSync(file)).toThrow('ENOENT');
    const { signal } = new AbortController();
    await run('true', [], { signal });
    await run('false', [], { signal }).catch(() => undefined);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('printable', () => {
  it('quotes a command so that a shell reads it back unchanged', () => {
    expect(printable('make', ['-j2', 'CC=gcc 14', '', "it's"])).toBe(`make -j2 'CC=gcc 14' '' 'it'\\''s'`);
    const words = fc.array(fc.string({ unit: 'grapheme' }).filter((word) => !word.includes('\0')));
    fc.assert(
      fc.property(words, (args) => {
        const read = execFileSync('sh', ['-c', printable('printf', ['%s\\0', ...args])], { encoding: 'utf8' });
        expect(read.split('\0').slice(0, -1)).toEqual(args.length === 0 ? [''] : args);
      }),
      { numRuns: 30 },
    );
  });
});

describe('LineTail', () => {
  const linesOf = (
    chunks: readonly (Buffer | string)[],
    limit = 1000,
  ): { heard: string[]; kept: readonly string[] } => {
    const heard: string[] = [];
    const tail = new LineTail(limit, (line) => void heard.push(line));
    for (const chunk of chunks) tail.push(chunk);
    tail.end();
    return { heard, kept: tail.lines };
  };
  const cut = (bytes: Buffer, places: readonly number[]): Buffer[] => {
    const edges = [...new Set([0, ...places.map((place) => place % (bytes.length + 1)), bytes.length])];
    edges.sort((a, b) => a - b);
    return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
  };
  const text = fc
    .array(fc.oneof(fc.constantFrom('\n', '\r', '\r\n', ' ', 'é', '😀', 'x'.repeat(5000)), fc.string()))
    .map((parts) => parts.join(''));

  it('produces the same lines however the bytes are split', () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat()), (whole, places) => {
        const bytes = Buffer.from(whole);
        const lines = bytes
          .toString()
          .split(/\r\n|\r|\n/)
          .map((line) => line.slice(-4096))
          .filter((line) => line.trim() !== '');
        expect(linesOf(cut(bytes, places)).heard).toEqual(lines);
      }),
    );
  });

  it('keeps only the last lines', () => {
    expect(linesOf(['1\n2\n', '3', '\n4'], 2)).toEqual({ heard: ['1', '2', '3', '4'], kept: ['3', '4'] });
  });
});

it('a program that is not executable is reported as such', async () => {
  const file = join(tempDir(), 'file');
  await writeFile(file, 'text');
  const error = await rejectionOf(run(file, []));
  expect([error.message, ...error.lines].join(' ')).toMatch(/Permission denied|EACCES/i);
});
