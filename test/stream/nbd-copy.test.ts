/** `nodeos nbd info|list|map|copy`, judged by programs that are not ours: nbdinfo, qemu-img, nbdkit, qemu-nbd. */
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { start, temporary } from '../support.js';
import {
  disk,
  folder,
  foreign,
  MIB,
  nbd,
  nbdkit,
  qemuNbd,
  serve,
  stored,
  sum,
  tool,
  webServer,
  works,
} from './nbd-command.js';

describe('info, list and map', () => {
  interface Info {
    readonly exports: Record<string, unknown>[];
  }
  const SAME = ['export-name', 'export-size', 'contexts', 'is_read_only', 'can_flush', 'can_fua', 'can_trim', 'can_zero', 'can_cache', 'can_multi_conn', 'can_fast_zero']; // prettier-ignore

  it('say what nbdinfo says, of nbdkit and of qemu-nbd', async () => {
    const path = await disk(folder);
    for (const uri of [await nbdkit('file', path), await nbdkit('-r', 'memory', '5M'), await qemuNbd(path, '-r')]) {
      const ours = JSON.parse(await works('info', uri, '--json')) as Info;
      const theirs = JSON.parse(await tool('nbdinfo', '--json', uri)) as Info;
      for (const key of SAME) expect([key, ours.exports[0]?.[key]]).toEqual([key, theirs.exports[0]?.[key]]);
      expect(ours).toMatchObject({ protocol: 'newstyle-fixed', TLS: false, structured: true });
      expect(JSON.parse(await works('map', uri, '--json'))).toEqual(JSON.parse(await tool('nbdinfo', '--map', '--json', uri))); // prettier-ignore
      expect(await works('map', uri)).toBe(await tool('nbdinfo', '--map', uri));
      expect(await works('map', uri, '--totals')).toBe(await tool('nbdinfo', '--map', '--totals', uri));
      expect(await works('info', uri)).toMatch(/^protocol: newstyle-fixed without TLS, using structured packets\nexport="":\n/); // prettier-ignore
    }
  });

  it('list the exports of a server, with their sizes', async () => {
    const uri = await foreign('nbdkit', (socket) => ['-f', '-U', socket, '--filter=exportname', 'memory', '3M', 'exportname-list=explicit', 'exportname=one', 'exportname=two']); // prettier-ignore
    expect(await works('list', uri)).toBe('       3 MiB  one\n       3 MiB  two\n');
    const { exports } = JSON.parse(await works('list', uri, '--json')) as Info;
    expect(exports[1]).toMatchObject({ 'export-name': 'two', uri: uri.replace('///', '///two') });
    const described = await qemuNbd(await disk(folder), '-x', 'disk', '-D', 'a disk');
    expect(await works('list', described)).toMatch(/MiB {2}disk {2}a disk\n$/);
  });

  it('of an export that is not there says where to look', async () => {
    const uri = await qemuNbd(await disk(folder), '-x', 'disk');
    const { status, stderr } = await nbd('info', uri.replace('///', '///other'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/was refused.*\n {2}nodeos nbd list nbd\+unix:/);
  });

  it('of an oldstyle server, and of files and URLs', async () => {
    const old = await nbdkit('-o', 'memory', '3M');
    expect(JSON.parse(await works('info', old, '--json'))).toMatchObject({ protocol: 'oldstyle', exports: [{ 'export-size': 3 * MIB }] }); // prettier-ignore
    const path = await disk(folder);
    expect(await works('info', path)).toContain(`export-size: ${10 * MIB + 512} (10.0 MiB)`);
    expect(await works('map', path)).toBe(await tool('nbdinfo', '--map', await nbdkit('file', path)));
  });
});

describe('copy', () => {
  it('between files, exports of all servers and URLs, sparsely', async () => {
    const path = await disk(folder);
    const to = (name: string): string => join(folder, `copy-${name}`);
    const expected = await sum(path);

    await works('copy', path, to('file'), '--verify');
    expect(await sum(to('file'))).toBe(expected);
    expect(await stored(to('file'))).toBeLessThan(await stored(path)); // without the zeros that are stored

    await works('copy', await nbdkit('file', path), to('nbdkit'));
    expect(await tool('cmp', path, to('nbdkit'))).toBe('');

    const blank = join(folder, 'blank');
    await writeFile(blank, randomBytes(11 * MIB));
    const tail = (await readFile(blank)).subarray(10 * MIB + 512);
    const target = await qemuNbd(blank);
    await works('copy', path, target, '--verify', '--flush');
    expect((await readFile(blank)).subarray(10 * MIB + 512).equals(tail)).toBe(true);
    expect((await readFile(blank)).subarray(0, 10 * MIB + 512).equals(await readFile(path))).toBe(true);

    const server = await serve('memory:10486272');
    await works('copy', path, server.uri, '--connections', '2', '--requests', '3', '--destination-is-zero');
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, server.uri)).toContain('identical');
    const between = await nbdkit('memory', '10486272');
    await works('copy', server.uri, between, '--verify');
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, between)).toContain('identical');

    await works('copy', await webServer(path), to('web'));
    expect(await sum(to('web'))).toBe(expected);

    await works('copy', path, to('full'), '--no-sparse');
    expect(await sum(to('full'))).toBe(expected);
    expect(await stored(to('full'))).toBeGreaterThanOrEqual(10 * MIB);
  });

  it('from a URL that is served with an overlay', async () => {
    const path = await disk(folder);
    const server = await serve('--overlay', join(folder, 'web-delta'), await webServer(path));
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, server.uri)).toContain('identical');
    await works('copy', 'memory:10M', server.uri);
    expect(await works('map', server.uri, '--totals')).toMatch(/100\.0%|hole/);
  });

  it('tells its result as JSON, and replaces a file only when it is whole', async () => {
    const [path, old] = [await disk(folder), join(folder, 'old')];
    await writeFile(old, 'as it was');
    const failed = await nbd('copy', await nbdkit('--filter=error', 'pattern', '8M', 'error-pread-rate=100%'), old);
    expect(failed.status).toBe(1);
    expect(failed.stderr).toMatch(/cannot copy nbd\S+ to \S+: reading \d+ bytes at \d+ of the source: EIO/);
    expect(await readFile(old, 'utf8')).toBe('as it was');
    const line = (await works('copy', path, old, '--json', '--verify')).trim();
    expect(JSON.parse(line)).toMatchObject({ event: 'done', size: 10 * MIB + 512, verified: true });
    expect(await sum(old)).toBe(await sum(path));
    expect((await readdir(folder)).filter((name) => name.includes('partial'))).toEqual([]);
  });

  it('with a read-only export as its destination says why it cannot', async () => {
    const { status, stderr } = await nbd('copy', 'memory:1M', await nbdkit('-r', 'memory', '1M'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/cannot be written\n {2}the server does not let it/);
  });

  it('ended by Ctrl-C leaves nothing, and says how far it is until then', async () => {
    const slow = await nbdkit('--filter=rate', 'pattern', '64M', 'rate=64M');
    const target = await temporary();
    const copying = start(['nbd', 'copy', slow, join(target, 'disk'), '--json', '--requests', '2']);
    await copying.saw(/\{"event":"copied","done":\d+,"size":67108864,"seconds":[\d.]+\}/);
    expect(readdirSync(target)).toHaveLength(1);
    copying.child.kill('SIGINT');
    const { status, stderr } = await copying.ended;
    expect(status).toBe(130);
    expect(stderr).toBe('nodeos: interrupted by SIGINT\n');
    expect(readdirSync(target)).toEqual([]);
  });

  it('ended by a second Ctrl-C does not wait for a server that is stuck', async () => {
    const stuck = await nbdkit('--filter=delay', 'pattern', '8M', 'rdelay=60');
    const target = await temporary();
    const copying = start(['nbd', 'copy', stuck, join(target, 'disk')]);
    while (readdirSync(target).length === 0) await sleep(20);
    await sleep(300);
    copying.child.kill('SIGINT');
    await sleep(700);
    copying.child.kill('SIGINT');
    expect((await copying.ended).status).toBe(130);
    expect(readdirSync(target)).toEqual([]);
  });
});
