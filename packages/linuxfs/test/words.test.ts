import { constants } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { errnoOf, fsError } from '../errors.js';
import { globExpression } from '../folders.js';
import { O, type RawStat, type Time } from '../protocol.js';
import { bigIntStatsOf, statsOf } from '../stats.js';
import { flagsOf, modeOf, pathBytes, timeOf } from '../words.js';

const NEVER: Time = { seconds: 0n, nanoseconds: 0 };
const RAW: RawStat = {
  device: [0, 0],
  inode: 1n,
  mode: 0o100644,
  links: 1,
  uid: 0,
  gid: 0,
  special: [0, 0],
  size: 0n,
  blocks: 0n,
  blockSize: 4096,
  access: NEVER,
  modification: NEVER,
  change: NEVER,
  birth: undefined,
};

describe('words', () => {
  it.each([
    ['r', O.RDONLY],
    ['r+', O.RDWR],
    ['w', O.WRONLY | O.CREAT | O.TRUNC],
    ['wx', O.WRONLY | O.CREAT | O.TRUNC | O.EXCL],
    ['a+', O.RDWR | O.CREAT | O.APPEND],
    [constants.O_RDWR, O.RDWR],
    [constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, O.WRONLY | O.CREAT | O.EXCL],
    [constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW, O.DIRECTORY | O.NOFOLLOW],
    [constants.O_APPEND | constants.O_SYNC | constants.O_NONBLOCK, O.APPEND | O.SYNC | O.DSYNC],
  ])('takes the flags %s', (flags, number) => {
    expect(flagsOf(flags)).toBe(number);
  });

  it('refuses what Node.js refuses', () => {
    expect(() => flagsOf('q')).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }));
    expect(() => modeOf('9', 0)).toThrow(/octal/);
    expect(() => pathBytes('a\0b')).toThrow(/NUL/);
    expect(() => pathBytes(7 as never)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
    expect(() => timeOf('soon')).toThrow(/seconds or a Date/);
  });

  it('takes times before 1970 and parts of seconds', () => {
    expect(timeOf(-0.5)).toEqual({ seconds: -1n, nanoseconds: 500_000_000 });
    expect(timeOf(new Date(1500))).toEqual({ seconds: 1n, nanoseconds: 500_000_000 });
  });

  it('keeps each millisecond of a Date, and gives the nearest one of what was set as seconds', () => {
    for (let ms = 1_795_787_114_000; ms < 1_795_787_115_000; ms++) {
      const exact = timeOf(new Date(ms));
      expect(exact.nanoseconds).toBe((ms % 1000) * 1_000_000);
      for (const modification of [exact, timeOf(ms / 1000)])
        expect(statsOf({ ...RAW, modification }).mtime.getTime()).toBe(ms);
    }
    const below: Time = { seconds: 1n, nanoseconds: 999_999 };
    expect(statsOf({ ...RAW, modification: below }).mtime.getTime()).toBe(1001);
    expect(bigIntStatsOf({ ...RAW, modification: below }).mtime.getTime()).toBe(1000);
  });

  it('names errors as Node.js does', () => {
    const error = fsError(2, 'rename', '/a', '/b');
    expect(error.message).toBe("ENOENT: no such file or directory, rename '/a' -> '/b'");
    expect(error).toMatchObject({ code: 'ENOENT', errno: -2, syscall: 'rename', path: '/a', dest: '/b' });
    expect(fsError(117, 'stat').code).toBe('EUCLEAN');
    expect([errnoOf(Object.assign(new Error(), { code: 'ENOSPC' })), errnoOf(new Error())]).toEqual([28, 5]);
  });

  it.each([
    ['*.js', ['a.js'], ['a.ts', 'b/a.js']],
    ['**/*.js', ['a.js', 'b/c/a.js'], ['a.jsx']],
    ['a/{b,c}/?', ['a/b/x', 'a/c/y'], ['a/d/x', 'a/b/xy']],
    ['[!ab].+(x)', ['c.+(x)'], ['a.+(x)']],
  ])('matches the pattern %s', (pattern, yes, no) => {
    const expression = globExpression(pattern);
    expect(yes.filter((path) => expression.test(path))).toEqual(yes);
    expect(no.filter((path) => expression.test(path))).toEqual([]);
  });
});
