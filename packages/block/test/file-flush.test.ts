/** The calls to the kernel that a flush makes. */
import { readlinkSync, type NoParamCallback } from 'node:fs';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { file } from '../index.js';
import { errorOf, scratch } from './helpers.js';

const kernel = vi.hoisted(() => ({ fdatasync: (_fd: number, done: NoParamCallback): void => done(null) }));
vi.mock('node:fs', async (original) => ({
  ...(await original<object>()),
  fdatasync: (fd: number, done: NoParamCallback) => kernel.fdatasync(fd, done),
}));

const path = scratch();
/** The files that were synced. */
const synced: string[] = [];
let answer: NodeJS.ErrnoException | null = null;

beforeEach(() => {
  synced.length = 0;
  answer = null;
  kernel.fdatasync = (fd, done) => {
    synced.push(readlinkSync(`/proc/self/fd/${fd}`));
    setImmediate(() => done(answer));
  };
});

describe('a flush of a file', () => {
  it('is done once the kernel reports that the data is durable', async () => {
    const [name, end] = [path('flushed'), { isDone: false }];
    const device = await file(name, { create: 4096 });
    kernel.fdatasync = (fd, done) => {
      synced.push(readlinkSync(`/proc/self/fd/${fd}`));
      setTimeout(() => {
        end.isDone = true;
        done(null);
      }, 20);
    };
    await device.flush?.();
    expect(end.isDone).toBe(true);
    expect(synced).toEqual([name]);
    await device.flush?.();
    expect(synced).toEqual([name, name]);
    await device.close();
  });

  it('keeps failing after it has failed once', async () => {
    const device = await file(path('failed'), { create: 4096 });
    answer = Object.assign(new Error('no room'), { code: 'ENOSPC' });
    expect(await errorOf(() => device.flush?.())).toBe(answer);
    const cause = answer;
    answer = null;
    for (let times = 0; times < 2; times++) {
      const error = await errorOf(() => device.flush?.());
      expect(error).toMatchObject({ code: 'EIO', cause });
      expect(error.message).toContain('a flush failed before');
    }
    await device.close();
  });
});
