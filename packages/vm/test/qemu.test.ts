import { boardOf, boardsOf, targetOf } from '@nodeos/targets';
import { describe, expect, it } from 'vitest';
import { commandLine, qemuArguments, type Connections, type MachineOptions } from '../qemu.js';

const X86_64 = targetOf('x86_64');
const OPTIONS: MachineOptions = {
  board: boardOf(X86_64),
  accelerator: 'tcg',
  memory: '512M',
  cpus: 2,
  kernel: '/cache/a b/vmlinux',
  initramfs: '/cache/initramfs',
  append: ['nodeos.attempts=3'],
  publish: [
    { protocol: 'tcp', address: '127.0.0.1', host: 8080, guest: 80 },
    { protocol: 'udp', address: '0.0.0.0', host: 5353, guest: 53 },
  ],
};
const CONNECTIONS: Connections = {
  ports: { 'nodeos.events': '/tmp/n/events', 'nodeos.stdout': '/tmp/n/stdout' },
};
/** The arguments with one option per line. */
const lines = (options: Partial<MachineOptions>, connections: Partial<Connections> = {}): string[] =>
  qemuArguments({ ...OPTIONS, ...options }, { ...CONNECTIONS, ...connections })
    .join('\n')
    .replace(/\n(?!-)/g, ' ')
    .split('\n');

describe("QEMU's command line", () => {
  it.each([
    ['q35', ['/dev/pmem0', '/dev/vda', '/dev/vdb', '/dev/vdc']],
    ['microvm', ['/dev/vda', '/dev/vdb', '/dev/vdc', '/dev/vdd']],
  ])('has the disks of a container in the order of their words on %s', (name, [usr, ...devices]) => {
    const options = {
      board: boardOf(X86_64, name),
      usr: { path: '/usr.erofs', size: 2 << 20 },
      ...{ container: '/image', changes: '/a,b', data: '/data' },
    };
    const words = commandLine({ ...OPTIONS, ...options }).split(' ');
    const named = ['mount.usr', 'nodeos.container', 'nodeos.upper', 'nodeos.data'].map((word) =>
      words.find((one) => one.startsWith(`${word}=`))?.replace(/.*=/, ''),
    );
    expect(named).toEqual([usr, ...devices]);
    const drives = lines(options).filter((line) => /^-drive .*id=(?:container|changes|data)/.test(line));
    expect(drives).toEqual([
      '-drive if=none,id=container,file=/image,format=raw,readonly=on',
      '-drive if=none,id=changes,file=/a,,b,format=raw,discard=unmap',
      '-drive if=none,id=data,file=/data,format=raw,discard=unmap',
    ]);
  });

  it('describes a PC', () => {
    expect(lines({})).toMatchInlineSnapshot(`
      [
        "-name nodeos",
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display none",
        "-machine q35,sata=off,usb=off,smbus=off",
        "-accel tcg",
        "-cpu max",
        "-m 512M",
        "-smp 2",
        "-kernel /cache/a b/vmlinux",
        "-initrd /cache/initramfs",
        "-append console=ttyS0 quiet panic=-1 rootfstype=tmpfs initramfs_options=size=90% no_timer_check nodeos.onexit=poweroff nodeos.attempts=3",
        "-device virtio-rng-pci",
        "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:5353-:53",
        "-device virtio-net-pci,netdev=net0,romfile=",
        "-device virtio-serial-pci",
        "-chardev socket,id=nodeos-events,path=/tmp/n/events",
        "-device virtserialport,chardev=nodeos-events,name=nodeos.events",
        "-chardev socket,id=nodeos-stdout,path=/tmp/n/stdout",
        "-device virtserialport,chardev=nodeos-stdout,name=nodeos.stdout",
        "-chardev stdio,id=console,signal=off",
        "-serial chardev:console",
      ]
    `);
  });

  it('has a card for each network, and publishes ports by the first one', () => {
    const subnet = { network: '10.9.0.0/16', guest: '10.9.0.7', host: '10.9.0.1', nameServer: '10.9.0.3' };
    const cards = [{ subnet }, { mac: '52:54:00:00:00:09' }];
    const ofNetwork = (lines: readonly string[]): string[] =>
      lines.filter((line) => /^-(netdev|device) .*net\d/.test(line));
    const [first, second] = [
      [
        '-netdev user,id=net0,net=10.9.0.0/16,host=10.9.0.1,dns=10.9.0.3,dhcpstart=10.9.0.7,hostfwd=tcp:127.0.0.1:8080-10.9.0.7:80,hostfwd=udp:0.0.0.0:5353-10.9.0.7:53',
        '-device virtio-net-pci,netdev=net0,romfile=',
      ],
      ['-netdev user,id=net1', '-device virtio-net-pci,netdev=net1,romfile=,mac=52:54:00:00:00:09'],
    ];
    expect(ofNetwork(lines({ cards }))).toEqual([...first, ...second]);
  });

  it('describes an aarch64 machine, which starts by UEFI or from a kernel', () => {
    const args = lines({ board: boardOf(targetOf('aarch64')), accelerator: 'tcg' });
    expect(args).toContain('-machine virt');
    expect(args).toContain('-cpu max,pauth-impdef=on');
    expect(args).toContain('-device virtio-net-pci,netdev=net0,romfile=');
    expect(args.find((line) => line.startsWith('-append'))).toContain('console=ttyAMA0');
  });

  it('describes a Raspberry Pi: its card, the files that its firmware would start, and no ports', () => {
    const card = { kernel: '/c/kernel', initramfs: '/c/initramfs', deviceTree: '/c/tree', commandLine: 'quiet' };
    const medium = { path: '/c/card.img', drive: 'card', firmware: 'raspi', card } as const;
    const board = boardOf(targetOf('aarch64'), 'raspi3');
    const machine = { ...OPTIONS, board, memory: '1G', cpus: 4, medium, publish: [] };
    const args = qemuArguments(machine, { ports: {} });
    expect(args.join(' ')).toContain(
      '-machine raspi3b -accel tcg -m 1G -smp 4 -kernel /c/kernel -initrd /c/initramfs -dtb /c/tree -append quiet nodeos.watchdog=0 ' +
        '-drive if=sd,id=medium,format=raw,snapshot=on,file=/c/card.img -netdev user,id=net0',
    );
    expect(args.join(' ')).not.toMatch(/virtio|-cpu/);
  });

  it('describes a microvm', () => {
    expect(lines({ board: boardOf(X86_64, 'microvm'), accelerator: 'kvm', publish: [], cpus: 1 }))
      .toMatchInlineSnapshot(`
      [
        "-name nodeos",
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display none",
        "-machine microvm,acpi=off,rtc=on",
        "-accel kvm",
        "-cpu host",
        "-m 512M",
        "-smp 1",
        "-kernel /cache/a b/vmlinux",
        "-initrd /cache/initramfs",
        "-append console=ttyS0 quiet panic=-1 rootfstype=tmpfs initramfs_options=size=90% reboot=t nodeos.poweroff=reset nodeos.onexit=poweroff nodeos.attempts=3",
        "-device virtio-rng-device",
        "-netdev user,id=net0",
        "-device virtio-net-device,netdev=net0",
        "-device virtio-serial-device",
        "-chardev socket,id=nodeos-events,path=/tmp/n/events",
        "-device virtserialport,chardev=nodeos-events,name=nodeos.events",
        "-chardev socket,id=nodeos-stdout,path=/tmp/n/stdout",
        "-device virtserialport,chardev=nodeos-stdout,name=nodeos.stdout",
        "-chardev stdio,id=console,signal=off",
        "-serial chardev:console",
      ]
    `);
  });

  it('maps the image for /usr from memory on a PC and attaches a disk on a microvm', () => {
    const usr = { path: '/cache/a,b/usr.erofs', size: 112 << 20 };
    const added = (name: string): string[] => {
      const board = boardOf(X86_64, name);
      const without = lines({ board });
      return lines({ board, usr }).filter((line) => !without.includes(line) && !line.startsWith('-append'));
    };
    expect(added('q35')).toEqual([
      '-m 512M,slots=1,maxmem=624M',
      '-object memory-backend-file,id=usr,mem-path=/cache/a,,b/usr.erofs,size=117440512,share=on,readonly=on',
      '-device virtio-pmem-pci,memdev=usr',
    ]);
    expect(commandLine({ ...OPTIONS, usr })).toContain('mount.usr=/dev/pmem0 mount.usrflags=dax');
    expect(added('microvm')).toEqual([
      '-drive if=none,id=usr,file=/cache/a,,b/usr.erofs,format=raw,readonly=on',
      '-device virtio-blk-device,drive=usr',
    ]);
    expect(commandLine({ ...OPTIONS, board: boardOf(X86_64, 'microvm'), usr })).toContain(
      'mount.usr=/dev/vda nodeos.onexit',
    );
    expect(lines({ usr, memory: '1G' })).toContain('-m 1G,slots=1,maxmem=1136M');
  });

  it('uses a faster timer setup for one processor under software emulation', () => {
    const words = (options: Partial<MachineOptions>): string[] => commandLine({ ...OPTIONS, ...options }).split(' ');
    expect(words({ cpus: 1 })).toContain('nolapic_timer');
    expect(words({ cpus: 2 })).not.toContain('nolapic_timer');
    expect(words({ cpus: 1, accelerator: 'kvm' })).not.toContain('nolapic_timer');
  });

  it('keeps each argument in one word', () => {
    const args = qemuArguments(OPTIONS, CONNECTIONS);
    expect(args[args.indexOf('-kernel') + 1]).toBe('/cache/a b/vmlinux');
    expect(args[args.indexOf('-append') + 1]).toBe(commandLine(OPTIONS));
  });

  it('tells the kernel under software emulation that the timer works', () => {
    const words = (options: Partial<MachineOptions>): string[] => commandLine({ ...OPTIONS, ...options }).split(' ');
    for (const board of boardsOf(X86_64)) {
      expect(words({ board })).toContain('no_timer_check');
      expect(words({ board, accelerator: 'kvm' })).not.toContain('no_timer_check');
    }
  });

  it('has a sandbox unless the user gives one', () => {
    expect(lines({ sandbox: true })).toContain(
      '-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    );
    expect(lines({ sandbox: true, extra: ['-sandbox', 'off'] }).filter((line) => /sandbox/.test(line))).toEqual([
      '-sandbox off',
    ]);
    expect(lines({}).filter((line) => /sandbox/.test(line))).toEqual([]);
  });

  it('separates the guest from host and network except for published ports', () => {
    expect(lines({ restrict: true })).toContain(
      '-netdev user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:5353-:53',
    );
  });

  it('has no network card without a network', () => {
    expect(lines({ noNetwork: true }).filter((line) => /net/.test(line))).toEqual([]);
  });

  it('shares a terminal with the monitor and keeps a copy', () => {
    const [without, withTerminal] = [lines({}), lines({}, { terminalLog: '/tmp/n/console.log' })];
    expect(withTerminal.filter((line) => !without.includes(line))).toEqual([
      '-chardev stdio,id=console,signal=off,mux=on,logfile=/tmp/n/console.log',
      '-mon chardev=console',
    ]);
  });

  it('ends with the arguments of the user', () => {
    expect(qemuArguments({ ...OPTIONS, extra: ['-s', '-S'] }, CONNECTIONS).slice(-2)).toEqual(['-s', '-S']);
  });
});
