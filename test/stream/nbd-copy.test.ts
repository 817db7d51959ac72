/** `nodeos nbd info|list|map|copy`, compared with foreign programs: nbdinfo, qemu-img, nbdkit, qemu-nbd. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, chown, mkdir, open, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { hintFor } from '@nodeos/disk';
import { gptOf } from '../../packages/block/test/formats.js';
import { freePort, ROOT, start, temporary } from '../support.js';
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
  runNbd,
} from './nbd-command.js';

describe('info, list and map', () => {
  interface Info {
    readonly exports: Record<string, unknown>[];
  }
  const SAME = ['export-name', 'export-size', 'contexts', 'is_read_only', 'can_flush', 'can_fua', 'can_trim', 'can_zero', 'can_cache', 'can_multi_conn', 'can_fast_zero']; // prettier-ignore

  it('print the same as nbdinfo for nbdkit and qemu-nbd', async () => {
    const path = await disk(folder);
    for (const uri of [await nbdkit('file', path), await nbdkit('-r', 'memory', '5M'), await qemuNbd(path, '-r')]) {
      const ours = JSON.parse(await runNbd('info', uri, '--json')) as Info;
      const theirs = JSON.parse(await tool('nbdinfo', '--json', uri)) as Info;
      for (const key of SAME) expect([key, ours.exports[0]?.[key]]).toEqual([key, theirs.exports[0]?.[key]]);
      expect(ours).toMatchObject({ protocol: 'newstyle-fixed', TLS: false, structured: true });
      expect(JSON.parse(await runNbd('map', uri, '--json'))).toEqual(JSON.parse(await tool('nbdinfo', '--map', '--json', uri))); // prettier-ignore
      expect(await runNbd('map', uri)).toBe(await tool('nbdinfo', '--map', uri));
      expect(await runNbd('map', uri, '--totals')).toBe(await tool('nbdinfo', '--map', '--totals', uri));
      expect(await runNbd('info', uri)).toMatch(/^protocol: newstyle-fixed without TLS, using structured packets\nexport="":\n/); // prettier-ignore
    }
  });

  it('list the exports of a server with their sizes', async () => {
    const uri = await foreign('nbdkit', (socket) => ['-f', '-U', socket, '--filter=exportname', 'memory', '3M', 'exportname-list=explicit', 'exportname=one', 'exportname=two']); // prettier-ignore
    expect(await runNbd('list', uri)).toBe('       3 MiB  one\n       3 MiB  two\n');
    const { exports } = JSON.parse(await runNbd('list', uri, '--json')) as Info;
    expect(exports[1]).toMatchObject({ 'export-name': 'two', uri: uri.replace('///', '///two') });
    const described = await qemuNbd(await disk(folder), '-x', 'disk', '-D', 'a disk');
    expect(await runNbd('list', described)).toMatch(/MiB {2}disk {2}a disk\n$/);
  });

  it('suggest where to look for a missing export', async () => {
    const uri = await qemuNbd(await disk(folder), '-x', 'disk');
    const { status, stderr } = await nbd('info', uri.replace('///', '///other'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/was refused.*\n {2}nodeos nbd list nbd\+unix:/);
  });

  it('give advice for a source that this user cannot open, but not --read-only for reading', () => {
    for (const code of ['EACCES', 'EROFS']) {
      const error = Object.assign(new Error(), { code });
      expect(hintFor(error, 'disk').hint).not.toContain('--read-only');
      expect(hintFor(error, 'disk', { write: true }).hint).toContain(
        'nodeos nbd serve and attach take it with --read-only',
      );
    }
  });

  it('do not suggest listing the exports of a server that lists none', async () => {
    const keys = join(await temporary(), 'keys');
    await writeFile(keys, `alice:${randomBytes(32).toString('hex')}\n`);
    const { uri } = await serve('memory:1M', '--psk', keys, '--listen', 'nbds://127.0.0.1:0');
    const { status, stderr } = await nbd('list', uri.replace('nbds:', 'nbd:'));
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/was refused.*\n {2}it speaks with TLS only: nbds:\/\/\n$/),
    ]);
  });

  it('give advice for a source that cannot be opened', async () => {
    const at = await temporary();
    execFileSync('mkfifo', [join(at, 'pipe')]);
    const neither = 'it is neither a file nor a block device\n';
    for (const [source, words] of [
      [join(at, 'pipe'), neither],
      [at, neither],
      [join(at, 'none'), "stat '" + join(at, 'none') + "'\n  is its name right?\n"],
      [`nbd+unix:///?socket=${at}/none`, `connect ENOENT ${at}/none\n  no server has made this socket\n`],
      [`NBD+UNIX:///?socket=${at}/none`, `connect ENOENT ${at}/none\n  no server has made this socket\n`],
      [`nbds+unix:///?socket=${at}/none&tls-psk-file=${at}/keys`, `open '${at}/keys'\n  is its name right?\n`],
    ])
      expect(await nbd('info', source as string)).toEqual({
        status: 1,
        stdout: '',
        stderr: expect.stringContaining(words as string),
      });
    await writeFile(join(at, 'disk'), 'x');
    expect(await runNbd('info', `FILE:${at}/disk`)).toBe(await runNbd('info', join(at, 'disk')));
  });

  it('work with a server without options', async () => {
    const old = await nbdkit('--mask-handshake=0', 'memory', '3M');
    const found = JSON.parse(await runNbd('info', old, '--json')) as Info & { protocol: string };
    expect(found).toMatchObject({ protocol: 'newstyle', exports: [{ 'export-size': 3 * MIB }] });
    expect(found.protocol).toBe((JSON.parse(await tool('nbdinfo', '--json', old)) as { protocol: string }).protocol);
    const { status, stderr } = await nbd('list', old);
    expect([status, stderr]).toEqual([1, expect.stringContaining('the server has no list of exports')]);
  });

  it('work with an oldstyle server, files and URLs', async () => {
    const old = await nbdkit('-o', 'memory', '3M');
    expect(JSON.parse(await runNbd('info', old, '--json'))).toMatchObject({ protocol: 'oldstyle', exports: [{ 'export-size': 3 * MIB }] }); // prettier-ignore
    const path = await disk(folder);
    expect(await runNbd('info', path)).toContain(`export-size: ${10 * MIB + 512} (10.0 MiB)`);
    expect(await runNbd('map', path)).toBe(await tool('nbdinfo', '--map', await nbdkit('file', path)));
  });
});

describe('copy', () => {
  it('copies sparsely between files, exports of all servers and URLs', async () => {
    const path = await disk(folder);
    const to = (name: string): string => join(folder, `copy-${name}`);
    const expected = await sum(path);

    await runNbd('copy', path, to('file'), '--verify');
    expect(await sum(to('file'))).toBe(expected);
    expect(await stored(to('file'))).toBeLessThan(await stored(path)); // the stored zeros are not copied

    await runNbd('copy', await nbdkit('file', path), to('nbdkit'));
    expect(await tool('cmp', path, to('nbdkit'))).toBe('');

    const blank = join(folder, 'blank');
    await writeFile(blank, randomBytes(11 * MIB));
    const tail = (await readFile(blank)).subarray(10 * MIB + 512);
    const target = await qemuNbd(blank);
    await runNbd('copy', path, target, '--verify', '--flush');
    expect((await readFile(blank)).subarray(10 * MIB + 512).equals(tail)).toBe(true);
    expect((await readFile(blank)).subarray(0, 10 * MIB + 512).equals(await readFile(path))).toBe(true);

    const server = await serve('memory:10486272');
    await runNbd('copy', path, server.uri, '--connections', '2', '--requests', '3', '--destination-is-zero');
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, server.uri)).toContain('identical');
    const between = await nbdkit('memory', '10486272');
    await runNbd('copy', server.uri, between, '--verify');
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, between)).toContain('identical');

    await runNbd('copy', await webServer(path), to('web'));
    expect(await sum(to('web'))).toBe(expected);

    await runNbd('copy', path, to('full'), '--no-sparse');
    expect(await sum(to('full'))).toBe(expected);
    expect(await stored(to('full'))).toBeGreaterThanOrEqual(10 * MIB);
  });

  it('copies from a URL that is served with an overlay', async () => {
    const path = await disk(folder);
    const server = await serve('--overlay', join(folder, 'web-delta'), await webServer(path));
    expect(await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, server.uri)).toContain('identical');
    await runNbd('copy', 'memory:10M', server.uri);
    const [first] = JSON.parse(await runNbd('map', server.uri, '--json')) as Record<string, unknown>[];
    expect(first).toMatchObject({ offset: 0, length: 10 * MIB, description: 'hole,zero' });
  });

  it('prints its result as JSON, and replaces a file only when the copy is complete', async () => {
    const [path, old] = [await disk(folder), join(folder, 'old')];
    await writeFile(old, 'as it was');
    const failed = await nbd('copy', await nbdkit('--filter=error', 'pattern', '8M', 'error-pread-rate=100%'), old);
    expect(failed.status).toBe(1);
    expect(failed.stderr).toMatch(/cannot copy nbd\S+ to \S+: reading \d+ bytes at \d+ of the source: EIO/);
    expect(await readFile(old, 'utf8')).toBe('as it was');
    const line = (await runNbd('copy', path, old, '--json', '--verify')).trim();
    expect(JSON.parse(line)).toMatchObject({ event: 'done', size: 10 * MIB + 512, verified: true });
    expect(await sum(old)).toBe(await sum(path));
    expect((await readdir(folder)).filter((name) => name.includes('partial'))).toEqual([]);
  });

  it('explains the failure for a read-only destination', async () => {
    const { status, stderr } = await nbd('copy', 'memory:1M', await nbdkit('-r', 'memory', '1M'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/cannot be written\n {2}the server does not let it/);
  });

  it.each(['requests', 'connections'])('rejects invalid --%s and values that would fill the memory', async (name) => {
    for (const value of ['1.5', '1025', '1000000', '1e9'])
      expect(await nbd('copy', 'memory:8G', 'memory:8G', `--${name}`, value)).toEqual({
        status: 2,
        stdout: '',
        stderr: `nodeos: --${name} ${value}: expected a whole number from 1 to 1024\n`,
      });
  });

  it('leaves nothing behind at Ctrl-C, and shows its progress until then', async () => {
    const slow = await nbdkit('--filter=rate', 'pattern', '64M', 'rate=64M');
    const target = await temporary();
    const copying = start(['nbd', 'copy', slow, join(target, 'disk'), '--json', '--requests', '2']);
    await copying.waitForOutput(/\{"event":"copied","done":\d+,"size":67108864,"seconds":[\d.]+\}/);
    expect(readdirSync(target)).toHaveLength(1);
    copying.child.kill('SIGINT');
    const { status, stderr } = await copying.ended;
    expect(status).toBe(130);
    expect(stderr).toBe('nodeos: interrupted by SIGINT\n');
    expect(readdirSync(target)).toEqual([]);
  });

  it('does not wait for a stuck server after a second Ctrl-C', async () => {
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

const isRoot = process.getuid?.() === 0;

describe('a destination that is a file', () => {
  const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

  it('is created at the target of a dangling link', async () => {
    const at = await temporary();
    await mkdir(join(at, 'there'));
    await symlink('there', join(at, 'folder'));
    await symlink('second', join(at, 'first'));
    await symlink('folder/../nowhere', join(at, 'second'));
    await runNbd('copy', 'memory:1M', join(at, 'folder', '..', 'first'));
    expect((await readdir(at)).sort()).toEqual(['first', 'folder', 'nowhere', 'second', 'there']);
    expect([await readlink(join(at, 'first')), (await stat(join(at, 'nowhere'))).size]).toEqual(['second', MIB]);
    await runNbd('copy', 'memory:2M', join(at, 'first'));
    expect([await readlink(join(at, 'first')), (await stat(join(at, 'nowhere'))).size]).toEqual(['second', 2 * MIB]);
  });

  it.runIf(existsSync('/proc/self/fd'))('cannot be a link in /proc', async () => {
    const at = await temporary();
    const opened = await open(join(at, 'opened'), 'w');
    await symlink(`/proc/${process.pid}/fd/${opened.fd}`, join(at, 'link'));
    const { status, stderr } = await nbd('copy', 'memory:1M', join(at, 'link'));
    await opened.close();
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/^nodeos: cannot create \S+: it leads to \/proc\/\d+\/fd\//),
    ]);
    expect(await readlink(join(at, 'link'))).toContain('/proc/');
    expect((await stat(join(at, 'opened'))).size).toBe(0);
  });

  it('has the permissions of the file that it replaces', async () => {
    const [at, before] = [await temporary(), process.umask(0o027)];
    onTestFinished(() => void process.umask(before));
    const to = (name: string): string => join(at, name);
    await writeFile(to('private'), '');
    await chmod(to('private'), 0o604);
    if (isRoot) await chown(to('private'), 65534, 65533);
    for (const name of ['private', 'new']) await runNbd('copy', 'memory:1M', to(name));
    expect([await mode(to('private')), await mode(to('new'))]).toEqual([0o604, 0o640]);
    if (isRoot) expect(await stat(to('private'))).toMatchObject({ uid: 65534, gid: 65533, size: MIB });

    const copying = start(['nbd', 'copy', await nbdkit('--filter=delay', 'pattern', '8M', 'rdelay=60'), to('slow')]);
    const partial = async (): Promise<string | undefined> =>
      (await readdir(at)).find((name) => name.startsWith('.slow.'));
    while ((await partial()) === undefined) await sleep(20);
    expect(await mode(to((await partial()) ?? ''))).toBe(0o700); // a folder that nobody else enters
    copying.child.kill('SIGKILL');
  });

  it('can have any valid file name; other names are rejected before anything is read', async () => {
    const at = await temporary();
    for (const name of ['x'.repeat(255), 'ü'.repeat(127)]) await runNbd('copy', 'memory:1M', join(at, name));
    expect(await readdir(at)).toHaveLength(2);
    const unreadable = await nbdkit('--filter=error', 'pattern', '8M', 'error-pread-rate=100%');
    for (const [name, why] of [
      ['newdir/', 'it names a folder'],
      ['x'.repeat(256), 'ENAMETOOLONG'],
      [join('x'.repeat(255), 'y'), 'ENOTDIR'],
    ] as const) {
      const { status, stderr } = await nbd('copy', unreadable, `${at}/${name}`);
      expect([status, stderr]).toEqual([1, expect.stringContaining(`cannot create ${at}/${name}: ${why}`)]);
      expect(stderr).not.toMatch(/^ {4}at /m);
    }
    expect(await readdir(at)).toHaveLength(2);
  });

  it('is reported if it cannot get its final name', async () => {
    const at = await temporary();
    const copying = start([
      'nbd',
      'copy',
      await nbdkit('--filter=delay', 'pattern', '1M', 'rdelay=1'),
      join(at, 'disk'),
    ]);
    while (readdirSync(at).length === 0) await sleep(20);
    await mkdir(join(at, 'disk'));
    const { status, stderr } = await copying.ended;
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^nodeos: cannot create \S+disk: EISDIR[^\n]*\n$/m)]);
    expect(readdirSync(at)).toEqual(['disk']);
  });
});

/** Makes a disk with the file's content as its only partition. */
async function gpt(path: string): Promise<string> {
  await writeFile(`${path}.gpt`, gptOf(await readFile(path), 512));
  return `${path}.gpt`;
}

describe('a copy to standard output', () => {
  const CLI = join(ROOT, 'packages/cli/bin/nodeos.js');
  /** Runs `copy SOURCE -` in a shell, followed by the given script. */
  const piped = (source: string, then: string): { stdout: string; stderr: string } => {
    const script = `"$0" "$1" nbd copy "$2" - ${then}`;
    return spawnSync('bash', ['-c', script, process.execPath, CLI, source], { encoding: 'utf8' });
  };

  it('contains the whole disk including holes, and waits for a slow reader', async () => {
    const path = await disk(folder);
    const wanted = `${await sum(path)}  -\n`;
    for (const source of [path, `partition:1:${await gpt(path)}`]) {
      const { stdout, stderr } = piped(source, '| { sleep 0.5; sha256sum; }');
      expect([stdout, stderr]).toEqual([wanted, '']);
    }
  });

  it('ends silently when its reader goes away, and with an error when it cannot be written', () => {
    expect(piped('memory:1G', '| head -c 3 | wc -c; echo ${PIPESTATUS[0]}')).toMatchObject({
      stdout: '3\n141\n',
      stderr: '',
    });
    const full = piped('memory:1G', '> /dev/full; echo $?');
    expect(full).toMatchObject({ stdout: '1\n', stderr: expect.stringContaining('ENOSPC') });
  });
});

describe('a destination that cannot be flushed', () => {
  it('is reported as such, and verified data may still be lost', async () => {
    const path = await disk(folder);
    const target = join(await temporary(), 'target');
    await writeFile(target, Buffer.alloc(10 * MIB + 512));
    const uri = await nbdkit(
      'eval',
      `get_size=stat -Lc %s ${target}`,
      `pread=dd if=${target} skip=$4 count=$3 iflag=count_bytes,skip_bytes status=none`,
      `pwrite=dd of=${target} seek=$4 conv=notrunc oflag=seek_bytes status=none`,
      ...['can_write=exit 0', 'can_flush=exit 3', 'can_fua=echo none'],
    );
    const flushed = await nbd('copy', path, uri, '--flush');
    expect([flushed.status, flushed.stderr]).toEqual([1, expect.stringContaining(`--flush: ${uri} cannot be flushed`)]);
    expect((await readFile(target)).every((byte) => byte === 0)).toBe(true);
    const verified = await nbd('copy', path, uri, '--verify');
    expect([verified.status, verified.stderr]).toEqual([0, expect.stringContaining(`${uri} cannot be flushed: `)]);
    expect(await sum(target)).toBe(await sum(path));
  });
});

describe('a destination whose server is killed and restarted without its unflushed data', () => {
  async function copied(keeps: boolean, ...options: string[]): Promise<{ status: number; stderr: string }> {
    const [at, port] = [await temporary(), await freePort()];
    await writeFile(join(at, 'base'), Buffer.alloc(16 * MIB));
    const server = (): ReturnType<typeof serve> =>
      serve(
        join(at, 'base'),
        ...(keeps ? [] : ['--overlay', join(at, 'overlay')]),
        ...['--listen', `nbd://127.0.0.1:${port}`],
      );
    const first = await server();
    const slow = await nbdkit('--filter=delay', 'pattern', '12M', 'rdelay=300ms');
    const copying = start(['nbd', 'copy', slow, first.uri, '--json', '--requests', '2', ...options]);
    await copying.waitForOutput(/"event":"copied","done":\d{7}/);
    first.child.kill('SIGKILL');
    await first.ended;
    await server();
    return copying.ended;
  }

  it.each([[[]], [['--flush']]])('is not reported as copied, with %j', async (options) => {
    const { status, stderr } = await copied(false, ...options);
    expect(stderr).toMatch(
      /^nodeos: nbd:\S+: the connection was lost in between, and the server may have lost what was written\n {2}copy it again, or with --verify/,
    );
    expect(status).toBe(1);
  });

  it('is compared with --verify', async () => {
    const { status, stderr } = await copied(false, '--verify', '--flush');
    expect(stderr).toMatch(/^nodeos: nbd:\S+ differs from \S+ at byte \d+, though it was copied\n/);
    expect(status).toBe(1);
    // A file keeps everything.
    expect(await copied(true, '--verify', '--flush')).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('a destination that is a block device', () => {
  /** A loop device of 16 MiB, if this user can make one. */
  const hasLoop = isRoot && existsSync('/dev/loop-control');

  async function loop(): Promise<{ device: string; backing: string }> {
    const backing = join(await temporary(), 'backing');
    await writeFile(backing, Buffer.alloc(16 * MIB, 1));
    const device = execFileSync('losetup', ['--find', '--show', backing], { encoding: 'utf8' }).trim();
    onTestFinished(() => void execFileSync('losetup', ['--detach', device]));
    return { device, backing };
  }

  it.runIf(hasLoop)('is written in place, and the rest of it stays (needs root and loop devices)', async () => {
    const [{ device }, path] = [await loop(), await disk(folder, 10 * MIB)];
    await runNbd('copy', path, device, '--verify');
    const bytes = await readFile(device);
    expect(bytes.subarray(0, 10 * MIB).equals(await readFile(path))).toBe(true);
    expect(bytes.subarray(10 * MIB).equals(Buffer.alloc(6 * MIB, 1))).toBe(true);
    expect((await stat(device)).isBlockDevice()).toBe(true);
    const { status, stderr } = await nbd('copy', 'memory:17M', device);
    expect([status, stderr]).toEqual([1, expect.stringContaining('the target has only 16777216')]);
  });

  it.runIf(hasLoop)('is rejected while it is mounted (needs root and loop devices)', async () => {
    const [{ device }, at] = [await loop(), await temporary()];
    execFileSync('mkfs.ext4', ['-q', '-F', device]);
    execFileSync('mount', [device, at]);
    try {
      const { status, stderr } = await nbd('copy', 'memory:1M', device);
      expect([status, stderr]).toEqual([
        1,
        `nodeos: ${device} is in use (mounted at ${at}): it is not overwritten\n  unmount it, or take it out of use, and try again\n`,
      ]);
    } finally {
      execFileSync('umount', [at]);
    }
    execFileSync('e2fsck', ['-fn', device], { stdio: 'pipe' });
    await runNbd('copy', 'memory:1M', device);
  });
});
