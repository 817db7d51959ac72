/** Each format of `nodeos build --format`, judged by the tools that others read it with, and started where it starts. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startRegistry } from '../../packages/remote/test/registry.js';
import { application, exec, freePort, LONG, nodeos, request, start, temporary } from '../support.js';

const run = promisify(execFile);
const LINE = /started v\d+\.\d+\.\d+/;
const TALKING = { 'main.js': "console.log('started', process.version)" };
const MINUTES = 3;

interface Index {
  readonly manifests: readonly { readonly digest: string }[];
}

interface Result {
  readonly event: string;
  readonly step: string;
  readonly output: string;
  readonly files: readonly string[];
}

/** Builds, and returns what was made, in order. */
async function built(...args: string[]): Promise<Result[]> {
  const { status, stdout, stderr } = await nodeos('build', ...args, '--json');
  expect(status, stderr).toBe(0);
  const lines = stdout.trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Result).filter(({ event }) => event === 'result');
}

/** The folder of a format without an application. */
async function outputOf(format: string): Promise<string> {
  const [result] = await built('--format', format);
  return result?.output ?? '';
}

/** The folder of a format with an application that says a line and ends. */
async function folderOf(format: string): Promise<string> {
  const out = await temporary();
  await built('--format', format, '--app', await application(TALKING), '--out', out);
  return join(out, format);
}

const QEMU = ['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-cpu', 'max'];

/** Runs QEMU until the machine ends. @returns what came over its serial console: a file takes all that firmware says */
async function console(args: readonly string[], cwd: string): Promise<string> {
  const log = join(await temporary(), 'console');
  const serial = ['-serial', `file:${log}`];
  await run('qemu-system-x86_64', [...QEMU, ...serial, '-accel', 'tcg', ...args], { cwd, timeout: MINUTES * 60_000 });
  return readFile(log, 'latin1');
}

describe('disks of virtual machines', { timeout: LONG }, () => {
  it.each([
    ['qcow2', 'qcow2', 'vda'],
    ['vmdk', 'vmdk', 'vda'],
    ['vhd', 'vpc', 'vda'],
    ['usb', 'raw', 'sda'],
  ])('%s has what disk has, and boots', async (format, driver, device) => {
    const raw = join(await outputOf('disk'), 'nodeos.img');
    const image = join(await outputOf(format), driver === 'raw' ? 'nodeos.img' : `nodeos.${format}`);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', driver, raw, image]);
    const code = "console.log(/\\S+ .usr /.exec(fs.readFileSync('/proc/mounts', 'latin1'))[0])";
    const { status, stdout, stderr } = await exec(
      code,
      '--format',
      format,
      '--boot-timeout',
      '120',
      '--timeout',
      '180',
    );
    expect(status, stderr).toBe(0);
    expect(stdout.trim()).toBe(`/dev/${device}4 /usr`);
  });

  it('qcow2 and vmdk are read by nodeos too', async () => {
    for (const format of ['qcow2', 'vmdk']) {
      const path = join(await outputOf(format), `nodeos.${format}`);
      const { stdout } = await nodeos('image', 'info', `${format}:${path}`);
      expect(stdout).toMatch(/partition 4 usr-a: .* erofs/);
    }
  });
});

describe('oci', { timeout: LONG }, () => {
  it.skipIf(process.getuid?.() !== 0)(
    'skopeo takes it, umoci unpacks the same tree, and it starts the application',
    async () => {
      const dir = await temporary();
      const [layout, bundle, tar] = ['layout', 'bundle', 'tar'].map((name) => join(dir, name)) as [
        string,
        string,
        string,
      ];
      const out = await temporary();
      await built('--format', 'oci,tar', '--app', await application(TALKING), '--out', out);
      await run('skopeo', [
        'copy',
        '--quiet',
        '--insecure-policy',
        `oci-archive:${join(out, 'oci.tar')}`,
        `oci:${layout}:latest`,
      ]);
      await run('umoci', ['unpack', '--image', `${layout}:latest`, bundle]);
      await mkdir(tar);
      await run('tar', ['-xpf', join(out, 'root.tar'), '-C', tar]);
      const root = join(bundle, 'rootfs');
      const list = async (cwd: string): Promise<string[]> => {
        const { stdout } = await run('find', ['.', '-mindepth', '1', '-printf', '%p %y %m %U:%G %l\n'], { cwd });
        return stdout.trim().split('\n').sort();
      };
      expect(await list(root)).toEqual(await list(tar));
      await run('diff', ['-r', '--no-dereference', join(root, 'usr'), join(tar, 'usr')]);
      const { process: start } = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as {
        process: { args: string[]; env: string[]; cwd: string; user: { uid: number; gid: number } };
      };
      expect(start).toMatchObject({
        user: { uid: 1000, gid: 1000 },
        cwd: '/app',
        env: expect.arrayContaining(['HOME=/home/app']) as string[],
      });
      const [program = '', main = ''] = start.args;
      const { stdout } = await run('chroot', [root, program, main]);
      expect(stdout).toMatch(/^started v\d+/);
    },
  );

  it('the image specification has nothing against it, and a registry takes and gives it', async () => {
    const dir = await temporary();
    const [layout, back, blobs] = ['layout', 'back', 'registry'].map((name) => join(dir, name)) as [
      string,
      string,
      string,
    ];
    await built('--format', 'oci', '--app', await application(TALKING), '--out', dir);
    const path = join(dir, 'oci.tar');
    for (const folder of [layout, blobs]) await mkdir(folder);
    await run('tar', ['-xf', path, '-C', layout]);
    const { stdout } = await run('oci-image-tool', ['validate', '--type', 'image', layout]);
    expect(stdout).toContain('Validation succeeded');
    const registry = await startRegistry(blobs);
    onTestFinished(() => registry.close());
    const name = `docker://${registry.host}/team/app:1`;
    const pushed = await nodeos('oci', 'copy', `oci-archive:${path}`, name);
    expect(pushed.status, pushed.stderr).toBe(0);
    await run('skopeo', ['copy', '--quiet', '--insecure-policy', '--src-tls-verify=false', name, `oci:${back}:latest`]);
    const manifestOf = async (folder: string): Promise<string> =>
      (JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as Index).manifests.map((one) => one.digest)[0] ??
      '';
    expect(await manifestOf(back)).toBe(await manifestOf(layout));
  });
});

describe('tar', { timeout: LONG }, () => {
  const isRoot = process.getuid?.() === 0;

  it.skipIf(!isRoot)('GNU tar extracts the tree of the root image, and Node.js runs in it', async () => {
    const dir = await temporary();
    const [tar, erofs] = [join(dir, 'tar'), join(dir, 'erofs')];
    await mkdir(tar);
    await run('tar', ['-xpf', join(await outputOf('tar'), 'root.tar'), '-C', tar]);
    const [root] = await built('root');
    await run('fsck.erofs', ['--preserve', `--extract=${erofs}`, join(root?.output ?? '', 'root.erofs')]);
    const list = async (cwd: string): Promise<string[]> => {
      const { stdout } = await run('find', ['.', '-mindepth', '1', '-printf', '%p %y %m %U:%G %l\n'], { cwd });
      return stdout.trim().split('\n').sort();
    };
    const found = await list(tar);
    expect(found).toEqual(await list(erofs));
    expect(found).toContain('./dev/console c 600 0:0 ');
    expect(found).toContain('./home/app d 755 1000:1000 ');
    await run('diff', ['-r', '--no-dereference', join(tar, 'usr'), join(erofs, 'usr')]);
    const { stdout } = await run('chroot', [tar, '/bin/node', '-p', '1']);
    expect(stdout).toBe('1\n');
  });
});

describe('compressed images', { timeout: LONG }, () => {
  it.each([
    ['disk', 'zst', 'zstd', 'nodeos.img'],
    ['iso', 'xz', 'xz', 'nodeos.iso'],
  ])('%s.%s is whole, and nodeos flash writes it', async (format, ending, tool, file) => {
    const raw = join(await outputOf(format), file);
    const dir = await outputOf(`${format}.${ending}`);
    const image = join(dir, `${file}.${ending}`);
    expect((await readdir(dir)).sort()).toEqual([`${file}.bmap`, `${file}.${ending}`]);
    await run(tool, ['-t', image]);
    expect((await nodeos('image', 'info', image)).stdout).toBe((await nodeos('image', 'info', raw)).stdout);
    const stick = join(await temporary(), 'stick');
    const { size } = await stat(raw);
    await writeFile(stick, '');
    await truncate(stick, size);
    const { status, stderr } = await nodeos('flash', image, stick, '--yes');
    expect(status, stderr).toBe(0);
    await run('cmp', [raw, stick]);
  });
});

/**
 * What Firecracker takes, as it documents it: properties of `FullVmConfiguration` and, of those that are used here, their
 * properties; `!` is required. https://github.com/firecracker-microvm/firecracker/blob/main/src/firecracker/swagger/firecracker.yaml
 */
const FIRECRACKER: Readonly<Record<string, string>> = {
  'boot-source': '!kernel_image_path boot_args initrd_path',
  'machine-config': '!vcpu_count !mem_size_mib cpu_template smt track_dirty_pages huge_pages',
  drives: '!drive_id !is_root_device partuuid cache_type is_read_only path_on_host rate_limiter io_engine socket',
};

/** @throws AssertionError for a property that is not documented, or a required one that is missing */
function checkConfig(config: Readonly<Record<string, object>>): void {
  for (const [name, value] of Object.entries(config)) {
    const words = FIRECRACKER[name]?.split(' ') ?? [];
    expect(words, name).not.toEqual([]);
    for (const one of [value].flat()) {
      expect(words.map((word) => word.replace('!', ''))).toEqual(expect.arrayContaining(Object.keys(one)));
      const required = words.filter((word) => word.startsWith('!')).map((word) => word.slice(1));
      expect(Object.keys(one)).toEqual(expect.arrayContaining(required));
    }
  }
}

describe('folders', { timeout: LONG }, () => {
  it('pxe: iPXE starts the kernel from TFTP, and the root comes from nodeos nbd serve', async () => {
    const dir = await folderOf('pxe');
    const port = await freePort();
    const root = join(dir, 'root.erofs');
    const server = start(['nbd', 'serve', root, '--read-only', '--listen', `nbd://127.0.0.1:${port}`]);
    await server.waitForOutput(/default export/);
    // Under emulation on a busy host the timer may be late; and the port is that of this test.
    const script = `#!ipxe\nset nbd 10.0.2.2:${port}\nset words no_timer_check\nchain boot.ipxe\n`;
    await writeFile(join(dir, 'test.ipxe'), script);
    const net = ['-netdev', 'user,id=net,tftp=.,bootfile=test.ipxe', '-device', 'virtio-net-pci,netdev=net'];
    const text = await console(['-m', '512M', '-boot', 'n', ...net], dir);
    expect(text).toMatch(LINE);
    expect(server.output.stdout + server.output.stderr).toContain('uses the default export');
    server.child.kill('SIGINT');
    await server.ended;
  });

  const OVMF = ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'] as const;

  it.skipIf(!existsSync(OVMF[0]))('pxe: UEFI starts nodeos.efi from the network, with all in it', async () => {
    const dir = await folderOf('pxe');
    const variables = join(await temporary(), 'variables.fd');
    await copyFile(OVMF[1], variables);
    const flash = (unit: number, path: string, access: string): string[] => [
      '-drive',
      `if=pflash,unit=${unit},format=raw,${access}file=${path}`,
    ];
    const firmware = [...flash(0, OVMF[0], 'readonly=on,'), ...flash(1, variables, '')];
    const net = [
      '-netdev',
      'user,id=net,tftp=.,bootfile=nodeos.efi',
      '-device',
      'virtio-net-pci,netdev=net,bootindex=0',
    ];
    const text = await console(
      ['-machine', 'q35', '-m', '512M', ...firmware, ...net, '-device', 'virtio-rng-pci'],
      dir,
    );
    expect(text).toMatch(LINE);
  });

  it("firecracker: QEMU's microvm starts its files with its words", async () => {
    const dir = await folderOf('firecracker');
    const config = JSON.parse(await readFile(join(dir, 'vm.json'), 'utf8')) as {
      readonly 'boot-source': { kernel_image_path: string; initrd_path: string; boot_args: string };
      readonly drives: readonly { path_on_host: string; is_read_only: boolean }[];
      readonly 'machine-config': { mem_size_mib: number; vcpu_count: number };
    };
    checkConfig(config);
    const { kernel_image_path: kernel, initrd_path: initrd, boot_args: words } = config['boot-source'];
    const drives = config.drives.flatMap(({ path_on_host: path, is_read_only: isReadOnly }, index) => [
      ...['-drive', `if=none,id=d${index},file=${path},format=raw,readonly=${isReadOnly ? 'on' : 'off'}`],
      ...['-device', `virtio-blk-device,drive=d${index}`],
    ]);
    const memory = `${config['machine-config'].mem_size_mib}M`;
    const machine = ['-machine', 'microvm,acpi=off,rtc=on', '-m', memory];
    const text = await console([...machine, '-kernel', kernel, '-initrd', initrd, '-append', words, ...drives], dir);
    expect(text).toMatch(LINE);
  });

  it('qemu: run.sh starts it, and port 80 of the machine is here', async () => {
    const out = await temporary();
    const app = await application({
      'main.js':
        "require('http').createServer((q, r) => r.end(require('fs').readFileSync('/proc/cmdline', 'latin1'))).listen(80)",
    });
    const words = 'nodeos.hostname=q x="$HOME `id` \\\\"';
    await built('--format', 'qemu', '--app', app, '--append', words, '--out', out);
    const port = String(await freePort());
    // /dev/kvm may be there and not work.
    const env = { ...process.env, ACCEL: 'tcg', PORT: port, MEMORY: '300M' };
    const child = spawn(join(out, 'qemu/run.sh'), [], { cwd: '/', env, stdio: ['ignore', 'ignore', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    expect(await (await request(`http://127.0.0.1:${port}`, {}, 120)).text()).toContain(words);
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGTERM');
    await ended;
  });
});

describe('nodeos build', { timeout: LONG }, () => {
  it.each(['qcow2', 'vmdk', 'vhd', 'tar', 'oci', 'disk.zst', 'pxe', 'firecracker', 'qemu'])(
    '%s is the same when it is built again',
    async (format) => {
      const sums = async (dir: string): Promise<string> =>
        (await run('sh', ['-c', 'sha256sum *'], { cwd: dir })).stdout;
      const first = await outputOf(format);
      const before = await sums(first);
      await rm(join(first, '..'), { recursive: true });
      const { stderr } = await nodeos('build', '--format', format);
      expect(stderr).toMatch(/done in/);
      expect(await sums(first)).toBe(before);
    },
  );

  it('takes several formats, and copies a folder as a folder', async () => {
    const out = await temporary();
    const results = await built('--format', 'usb,qcow2', '-f', 'firecracker', '--out', out);
    expect(results.map(({ step }) => step)).toEqual(['disk', 'qcow2', 'firecracker']);
    expect(results[2]?.files).toContain(join(out, 'firecracker/vm.json'));
    expect((await readdir(out)).sort()).toEqual(['firecracker', 'nodeos.img', 'nodeos.qcow2']);
  });

  it('puts the words of --append into every command line, and refuses what iPXE would change', async () => {
    const out = await temporary();
    await built('--format', 'firecracker,pxe', '--append', 'nodeos.hostname=baked', '--out', out);
    expect(await readFile(join(out, 'firecracker/vm.json'), 'utf8')).toContain('/dev/vda nodeos.hostname=baked"');
    expect(await readFile(join(out, 'pxe/boot.ipxe'), 'utf8')).toContain(
      'rootfstype=erofs nodeos.hostname=baked ${words}\n',
    );
    expect(
      (await readFile(join(out, 'pxe/nodeos.efi'))).includes('size=90% nodeos.watchdog=60 nodeos.hostname=baked'),
    ).toBe(true);
    const { status, stderr } = await nodeos('build', '--format', 'pxe', '--append', 'x=${y}');
    expect([status, stderr]).toEqual([1, expect.stringContaining('iPXE would replace the variable in x=${y}')]);
  });

  it('says where the files are, and explains', async () => {
    const { stdout } = await nodeos('build', '--format', 'qcow2');
    expect(stdout).toMatch(/^qcow2: \/.*\/output$/m);
    expect((await nodeos('build', '--format', 'qcow2', '--explain')).stdout).toContain('qcow2: in the cache');
  });

  it('takes the formats of package.json if nothing is named', async () => {
    const app = await application(TALKING, { nodeos: { formats: ['tar', 'firecracker'] } });
    const { status, stdout, stderr } = await nodeos('build', '--app', app);
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('building the formats of the configuration: tar, firecracker');
    expect(stdout.match(/^\S+(?=: \/)/gm)).toEqual(['tar', 'firecracker']);
    expect((await nodeos('build', 'init', '--app', app)).stdout.match(/^\S+(?=: \/)/gm)).toEqual(['init']);
  });

  it('refuses what it does not know', async () => {
    const refused = async (...args: string[]): Promise<string> => {
      const { status, stderr } = await nodeos('build', ...args);
      expect(status).toBe(2);
      return stderr;
    };
    expect(await refused('--format', 'floppy')).toMatch(/unknown format "floppy"[^]*qcow2, vmdk, vhd, tar/);
    expect(await refused('--format', 'disk,')).toContain('unknown format ""');
    expect(await refused('--format', 'pxe.zst')).toContain('pxe is a folder');
    const wrong = await application(TALKING, { nodeos: { formats: ['floppy'] } });
    expect(await refused('--app', wrong)).toContain("nodeos.formats[0] is 'floppy'; expected a format");
    const typo = await application(TALKING, { nodeos: { formats: 'disk' } });
    expect(await refused('--app', typo)).toContain('nodeos.formats must be an array of strings');
  });
});
