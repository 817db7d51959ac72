import { spawn, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { MANAGERS, managerFor, plan, shellLine, systemIds } from '../../packages/cli/host/managers.js';
import { NEEDS, needsOfStep } from '../../packages/cli/host/needs.js';
import { missing } from '../../packages/cli/host/present.js';

const bin = fileURLToPath(new URL('../../bin', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'install-dependencies-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

// The launcher is run by an unprivileged user too, who may not be able to read the working copy.
chmodSync(scratch, 0o755);
writeFileSync(join(scratch, 'package.json'), '{ "type": "module" }');
for (const file of [
  'bin/install-dependencies',
  ...['managers', 'needs', 'present'].map((name) => `packages/cli/host/${name}.js`),
])
  cpSync(join(bin, '..', file), join(scratch, file));
const launcher = join(scratch, 'bin/install-dependencies');

const NOBODY = 65534;
const isRoot = process.getuid?.() === 0;
const unprivileged = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
const canBeUnprivileged = spawnSync(process.execPath, ['-e', ''], { ...unprivileged, cwd: '/' }).status === 0;

const COMMANDS = NEEDS.flatMap(({ probe }) => probe.commands ?? []);
const MANAGER_COMMANDS = MANAGERS.map(({ command }) => command);
let machines = 0;

/**
 * A machine whose PATH has only fakes, each of which records that it was called. A fake is the body of a shell script;
 * it may use only what is built into the shell, and chmod.
 */
const machine = (without: string[], fakes: Record<string, string> = {}, osRelease = 'ID=debian\n') => {
  const root = join(scratch, `machine-${machines++}`);
  const path = join(root, 'bin');
  const log = join(root, 'calls');
  for (const directory of [root, path, join(root, 'include')]) {
    mkdirSync(directory);
    chmodSync(directory, 0o777);
  }
  writeFileSync(log, '');
  chmodSync(log, 0o666);
  // The headers and the firmware of the machine that runs the test are seen as well, so no test leaves these out.
  writeFileSync(join(root, 'include/gelf.h'), '');
  mkdirSync(join(root, 'share/OVMF'), { recursive: true });
  writeFileSync(join(root, 'share/OVMF/OVMF_CODE.fd'), '');
  writeFileSync(join(root, 'os-release'), osRelease);
  const add = (name: string, body = '') => {
    const script = `#!/bin/sh\nPATH='${path}'\necho "${name} $*" >> '${log}'\n${body}\n`;
    writeFileSync(join(path, name), script, { mode: 0o755 });
  };
  for (const name of [...COMMANDS, ...MANAGER_COMMANDS]) if (!without.includes(name)) add(name);
  add('env', 'shift; exec "$@"');
  for (const [name, body] of Object.entries(fakes)) add(name, body);

  const argv = (args: string[]) => [launcher, '--os-release', join(root, 'os-release'), ...args];
  const options = { env: { PATH: path, CPATH: join(root, 'include'), XDG_DATA_DIRS: join(root, 'share') }, cwd: '/' };
  return {
    argv,
    options,
    calls: () => readFileSync(log, 'utf8').split('\n').filter(Boolean),
    run: (args: string[], user: { uid?: number; gid?: number } = unprivileged) =>
      spawnSync(process.execPath, argv(args), { ...options, ...user, encoding: 'utf8', timeout: 20_000 }),
    /** The body of a fake that brings another command. */
    brings: (name: string) => `echo '#!/bin/sh' > '${join(path, name)}'; /bin/chmod +x '${join(path, name)}'`,
    add,
  };
};

/** A sudo that asks for no password. */
const SUDO = `
echo "sudo was asked" >&2
[ "$1" = -n ] && shift
[ "$1" = true ] && exit 0
exec "$@"`;

const FEDORA =
  'sudo dnf install -y --setopt=install_weak_deps=False gcc gcc-c++ make binutils bash findutils diffutils flex bison' +
  ' bc perl patch lz4 elfutils-libelf-devel xz bzip2 tar cpio erofs-utils dosfstools mtools xorriso genisoimage gdisk util-linux sbsigntools edk2-ovmf file qemu-system-x86-core qemu-img bmap-tools gmp-devel mpfr-devel libmpc-devel rsync python3 git zstd procps-ng less tmux squashfs-tools xfsprogs btrfs-progs f2fs-tools exfatprogs fuse3 zsh fish chrony squashfs-tools-ng busybox cmake meson ninja-build' +
  ' e2fsprogs nbdkit libnbd python3-libnbd nbd fio openssl dtc';

describe('the table', () => {
  it.each(NEEDS.map((need) => [need.need, need] as const))('has %s for every manager, or says why not', (_, need) => {
    for (const { family } of MANAGERS) {
      const why = family === 'brew' ? need.brewNote : need.absent;
      if (need[family].length === 0) expect(why, family).toMatch(/\w+ \w+/);
      for (const name of need[family]) expect(name).toMatch(/^[a-z0-9][a-z0-9_+.-]*$/);
    }
    expect(need.why).not.toBe('');
    expect([...(need.probe.commands ?? []), ...(need.probe.shared ?? []), need.probe.header ?? '']).not.toEqual(['']);
  });

  it('says which verb and which step needs what, or that only tests do', () => {
    for (const { need, verbs, only } of NEEDS) expect(verbs.length > 0 || only !== undefined, need).toBe(true);
    const needsOf = (step: string): string[] => needsOfStep(step).map(({ need }) => need);
    expect(needsOf('toolchain-gcc')).toEqual(expect.arrayContaining(['C compiler', 'GMP, MPFR and MPC headers', 'xz']));
    expect(needsOf('kernel')).toEqual(expect.arrayContaining(['flex', 'bison', 'bc', 'libelf headers']));
    expect(needsOf('disk-zst')).toEqual(['zstd']);
    expect(needsOf('archive-runtime')).toEqual(['LZ4']);
    // Only the runtime's archive is compressed: a start with a remote cache needs no LZ4.
    expect(needsOf('archive-app')).toEqual([]);
    expect(needsOf('usr')).toEqual([]);
  });

  it('has each need once', () => {
    expect(new Set(NEEDS.map(({ need }) => need)).size).toBe(NEEDS.length);
  });

  it('does not ask for what only benchmarks and long tests need', () => {
    expect(NEEDS.filter(({ only }) => only === 'long').map(({ need }) => need)).toEqual([
      'binutils for aarch64',
      'QEMU for aarch64',
      'UEFI firmware for aarch64',
      'QEMU for programs',
      'debootstrap',
      'Chromium',
    ]);
  });

  it('asks for what is missing, by command or by header', () => {
    const lacking = missing(NEEDS, ({ commands, header }) => !commands?.includes('ld') && header === undefined);
    expect(lacking.map(({ need }) => need)).toEqual(['binutils', 'libelf headers', 'GMP, MPFR and MPC headers']);
  });
});

describe('the package managers', () => {
  const qemu = NEEDS.filter(({ need }) => need === 'QEMU');
  const EXPECTED: Record<string, string[]> = {
    debian: [
      'sudo apt-get update',
      'sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends qemu-system-x86',
    ],
    fedora: ['sudo dnf install -y --setopt=install_weak_deps=False qemu-system-x86-core'],
    arch: ['sudo pacman -S --needed --noconfirm qemu-system-x86'],
    alpine: ['sudo apk update', 'sudo apk add qemu-system-x86_64'],
    brew: ['brew install qemu'],
  };

  it.each(MANAGERS.map((manager) => [manager.command, manager] as const))('%s has this argv', (_, manager) => {
    expect(plan(manager, qemu, ['sudo']).commands.map(shellLine)).toEqual(EXPECTED[manager.family]);
    expect(plan(manager, qemu, []).commands.flat()).not.toContain('sudo');
    expect(plan(manager, [], ['sudo']).commands).toEqual([]);
    expect(manager.hint).not.toBe('');
  });

  it('names each package once', () => {
    for (const manager of MANAGERS) {
      const argv = plan(manager, NEEDS, []).commands.at(-1) ?? [];
      expect(new Set(argv).size).toBe(argv.length);
    }
  });

  it.each([
    ['ID=debian\n', 'linux', 'apt-get'],
    ['PRETTY_NAME="X"\nID=ubuntu\nID_LIKE=debian\n', 'linux', 'apt-get'],
    ['ID=linuxmint\nID_LIKE="ubuntu debian"\n', 'linux', 'apt-get'],
    ["ID='rocky'\nID_LIKE='rhel centos fedora'\n", 'linux', 'dnf'],
    ['ID=endeavouros\r\nID_LIKE=arch\r\n', 'linux', 'pacman'],
    ['VERSION_ID=3.20\nID=alpine\n', 'linux', 'apk'],
    ['VARIANT_ID=debian\nID=gentoo\n', 'linux', undefined],
    ['', 'linux', undefined],
    [undefined, 'linux', undefined],
    [undefined, 'darwin', 'brew'],
  ])('os-release %j on %s is served by %s', (osRelease, platform, command) => {
    expect(managerFor(systemIds(osRelease, platform))?.command).toBe(command);
  });

  it('quotes for a shell', () => {
    expect(shellLine(['a b', "it's", '$x', 'A=1', ''])).toBe(`'a b' 'it'\\''s' '$x' A=1 ''`);
  });
});

describe('the command line', () => {
  it('is executable, and run by node', () => {
    const file = join(bin, 'install-dependencies');
    accessSync(file, constants.X_OK);
    expect(readFileSync(file, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it('says one line when nothing is missing, and runs nothing', () => {
    const host = machine(['debootstrap']);
    expect(host.run([])).toMatchObject({
      status: 0,
      stdout: 'All system packages that NodeOS needs are installed.\n',
      stderr: '',
    });
    expect(host.run(['--print'])).toMatchObject({ status: 0, stdout: '' });
    expect(host.run(['--print', '--json'])).toMatchObject({ status: 0, stdout: '[]\n' });
    expect(host.calls()).toEqual([]);
  });

  it('prints the commands for another distribution', () => {
    const result = machine([]).run(['--print', '--distro', 'fedora', '--tests']);
    expect(result).toMatchObject({ status: 0, stdout: `${FEDORA}\n` });
    expect(result.stderr).toContain("libelf headers (for objtool, which checks the kernel's object files)");
  });

  it('asks without --tests for no program that only tests run', () => {
    const { stdout } = machine([]).run(['--print', '--distro', 'debian']);
    expect(stdout).toContain('qemu-system-x86');
    expect(stdout).not.toMatch(/nbdkit|cmake|tmux|ovmf|xorriso|fio/);
  });

  it('--need asks for rows of the table, and only for them', () => {
    const { status, stdout } = machine([]).run(['--print', '--distro', 'arch', '--need', 'QEMU', '--need', 'LZ4']);
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: 'sudo pacman -S --needed --noconfirm lz4 qemu-system-x86\n',
    });
    const unknown = machine([]).run(['--need', 'QEMU', '--need', 'qemu']);
    expect(unknown).toMatchObject({ status: 2, stdout: '' });
    expect(unknown.stderr).toContain('--need qemu: there is no such row');
  });

  it('--all asks also for what benchmarks and long tests need', () => {
    const host = machine([]);
    expect(host.run(['--print', '--distro', 'fedora', '--all']).stdout).toBe(
      `${FEDORA} binutils-aarch64-linux-gnu qemu-system-aarch64-core edk2-aarch64 qemu-user debootstrap\n`,
    );
  });

  it('says why macOS lacks some', () => {
    const result = machine([]).run(['--print', '--distro', 'macos', '--all']);
    expect(result).toMatchObject({
      status: 0,
      stdout:
        'brew install lz4 xz erofs-utils dosfstools mtools xorriso cdrtools qemu zstd tmux squashfs zsh fish chrony cmake meson ninja e2fsprogs dtc\n',
    });
    expect(result.stderr).toMatch(/flex: macOS itself cannot build a Linux kernel/);
  });

  it('prints JSON for programs', () => {
    const result = machine([]).run(['--print', '--json', '--distro', 'alpine']);
    const commands = JSON.parse(result.stdout) as { argv: string[]; line: string }[];
    expect(commands[0]).toEqual({ argv: ['sudo', 'apk', 'update'], line: 'sudo apk update' });
    expect(commands[1]?.argv.slice(0, 7)).toEqual(['sudo', 'apk', 'add', 'gcc', 'g++', 'musl-dev', 'linux-headers']);
    expect(commands).toHaveLength(2);
  });

  it('only prints with --print', () => {
    const host = machine(['flex', 'bc'], { sudo: SUDO });
    const result = host.run(['--print']);
    expect(result.status).toBe(0);
    expect(result.stdout).toMatch(/apt-get update\n.*apt-get install -y --no-install-recommends flex bc\n$/);
    expect(result.stderr).toBe('NodeOS needs: flex (kernel configuration), bc (kernel time constants)\n');
    host.run(['--print', '--json', '--all']);
    for (const id of MANAGERS.flatMap(({ ids }) => ids)) host.run(['--print', '--distro', id]);
    expect(host.calls()).toEqual([]);
  });

  it.each([
    [['--wat'], "Unknown option '--wat'"],
    [['flex'], "Unexpected argument 'flex'"],
    [['--distro'], "'--distro <value>' argument missing"],
    [['--json'], '--json goes with --print'],
    [['--distro', 'arch'], '--distro goes with --print'],
  ])('%j is a usage error', (args, message) => {
    const host = machine(['flex'], { sudo: SUDO });
    const result = host.run(args);
    expect(result).toMatchObject({ status: 2, stdout: '' });
    expect(result.stderr).toContain(message);
    expect(result.stderr).toContain('--help');
    expect(host.calls()).toEqual([]);
  });

  it('has help with examples', () => {
    const result = machine(['flex']).run(['--help']);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(result.stdout).toMatch(/^Usage: [\s\S]*Examples:[\s\S]*--print --distro fedora/);
  });

  it('lists the programs where the distribution is unknown', () => {
    const host = machine(['flex', 'strip'], { sudo: SUDO }, 'ID=gentoo\n');
    for (const args of [[], ['--print']]) {
      const result = host.run(args);
      expect(result).toMatchObject({ status: 1, stdout: '' });
      expect(result.stderr).toContain('ld, strip, readelf: binutils');
      expect(result.stderr).toContain('flex: flex (kernel configuration)');
      expect(result.stderr).not.toContain('bison');
    }
    const named = host.run(['--print', '--distro', 'plan9']);
    expect(named).toMatchObject({ status: 1, stdout: '' });
    expect(named.stderr).toContain('plan9');
    expect(named.stderr).toContain('qemu-system-x86_64: QEMU');
    expect(host.calls()).toEqual([]);
  });

  it('does not take an applet of busybox for the tool', () => {
    const host = machine(['tar'], { busybox: '' });
    spawnSync('ln', ['-s', 'busybox', join(host.options.env.PATH, 'tar')]);
    expect(host.run(['--print']).stdout).toMatch(/ tar\n$/);
  });

  it('takes busybox itself where it is asked for', () => {
    const [there, absent] = [machine([]), machine(['busybox'])];
    expect(there.run(['--print', '--tests']).stdout).not.toContain('busybox-static');
    expect(absent.run(['--print', '--tests']).stdout).toContain('busybox-static');
  });
});

describe.skipIf(!canBeUnprivileged)('installing as an ordinary user', () => {
  it('says what for before sudo runs, and looks again afterwards', () => {
    const host = machine(['flex'], { sudo: SUDO });
    host.add('apt-get', `[ "$1" = install ] && { ${host.brings('flex')}; }; exit 0`);
    const result = host.run([]);
    expect(result).toMatchObject({ status: 0, stdout: 'Installed: flex.\n' });
    const install = 'env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends flex';
    expect(result.stderr.split('\n')).toEqual([
      'NodeOS needs root to install: flex (kernel configuration)',
      'running: sudo -n apt-get update',
      'sudo was asked',
      `running: sudo -n ${install}`,
      'sudo was asked',
      '',
    ]);
    expect(host.calls()).toEqual([
      'sudo -n true',
      'sudo -n apt-get update',
      'apt-get update',
      `sudo -n ${install}`,
      install,
      install.slice(install.indexOf('apt-get')),
    ]);
  });

  it.each([
    ['there is no sudo', {}, []],
    ['sudo wants a password', { sudo: 'exit 1' }, ['sudo -n true']],
  ])('stops where %s, and says what to run', (reason, fakes, calls) => {
    const host = machine(['bison'], fakes, 'ID=fedora\n');
    const result = host.run([]);
    expect(result).toMatchObject({ status: 1, stdout: '' });
    expect(result.stderr).toContain('NodeOS needs root to install: bison (kernel configuration)\n');
    expect(result.stderr).toContain(`Nothing was installed: ${reason}`);
    expect(result.stderr).toContain('\n  dnf install -y --setopt=install_weak_deps=False bison\n');
    expect(host.calls()).toEqual(calls);
  });

  it('says which command failed, how, and what to do', () => {
    const host = machine(['flex'], { sudo: SUDO, 'apt-get': 'exit 100' });
    const result = host.run([]);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('sudo -n apt-get update\nfailed with exit status 100. Is the network there');
    expect(host.calls()).not.toContainEqual(expect.stringContaining('install'));
  });

  it('names what is still missing afterwards', () => {
    const host = machine(['flex', 'bc'], { sudo: SUDO }, 'ID=arch\n');
    host.add('pacman', host.brings('bc'));
    const result = host.run([]);
    expect(result).toMatchObject({ status: 1, stdout: '' });
    expect(result.stderr).toContain('pacman succeeded, but this is still missing: flex (kernel configuration).');
  });

  it('runs Homebrew without sudo', () => {
    const host = machine(['lz4', 'flex'], { sudo: SUDO }, 'ID=macos\n');
    host.add('brew', host.brings('lz4'));
    const result = host.run([]);
    expect(result).toMatchObject({ status: 0, stdout: 'Installed: LZ4.\n' });
    expect(result.stderr).toContain('No package for flex: macOS');
    expect(host.calls()).toEqual(['brew install lz4']);
  });

  it('says so where the package manager is not there', () => {
    const result = machine(['lz4', 'brew'], {}, 'ID=macos\n').run([]);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/brew install lz4\ncould not be run: .*ENOENT.*Homebrew must be installed/);
  });

  it('has nothing to do where no package would help', () => {
    const host = machine(['flex'], {}, 'ID=macos\n');
    expect(host.run([])).toMatchObject({ status: 0, stdout: '' });
    expect(host.calls()).toEqual([]);
  });

  it('exits with 130 when interrupted, after the package manager has ended', async () => {
    const host = machine(['lz4'], {}, 'ID=macos\n');
    // Ends by itself, late, if the interruption is not passed on.
    host.add(
      'brew',
      `trap 'echo cleaned up; exit 1' INT; echo begun; i=0; while [ $i -lt 9000000 ]; do i=$((i+1)); done`,
    );
    const child = spawn(process.execPath, host.argv([]), { ...host.options, ...unprivileged });
    let output = '';
    child.stdout.on('data', (data) => {
      output += String(data);
      if (output === 'begun\n') child.kill('SIGINT');
    });
    const status = await new Promise((resolve) => child.on('close', resolve));
    expect({ status, output }).toEqual({ status: 130, output: 'begun\ncleaned up\n' });
  });
});

describe.runIf(isRoot)('installing as root', () => {
  it('needs no sudo', () => {
    const host = machine(['flex'], { sudo: SUDO }, 'ID=alpine\n');
    host.add('apk', `[ "$1" = add ] && { ${host.brings('flex')}; }; exit 0`);
    const result = host.run([], {});
    expect(result).toMatchObject({ status: 0, stdout: 'Installed: flex.\n' });
    expect(result.stderr).toMatch(/^NodeOS needs to install: flex .*\nrunning: apk update\nrunning: apk add flex\n$/);
    expect(host.calls()).toEqual(['apk update', 'apk add flex']);
    expect(existsSync(join(host.options.env.PATH, 'flex'))).toBe(true);
  });
});
