/** Builds QEMU's command line as a pure function of the options. https://www.qemu.org/docs/master/system/ */
import type { Board, Emulator } from '@nodeos/targets';
import { word } from '@nodeos/contract';
import { escaped } from './escaped.js';
import { mediumArguments, type Medium } from './media.js';
import type { Publish } from './ports.js';
import { hasOwnSandbox, SANDBOX } from './sandbox.js';

export interface MachineOptions {
  readonly board: Board;
  readonly accelerator: string;
  /** Memory size in QEMU's notation: `256M`, `1G`. */
  readonly memory: string;
  readonly cpus: number;
  /** Both or, for a machine that boots from a medium, none. */
  readonly kernel?: string;
  readonly initramfs?: string;
  readonly medium?: Medium | undefined;
  /** An EROFS image for /usr with the runtime; undefined if the runtime is in the initramfs. */
  readonly usr?: Image | undefined;
  /** The path of a container's image (EROFS), and of an ext4 image for what the container changes. */
  readonly container?: string | undefined;
  readonly changes?: string | undefined;
  /** The path of an ext4 image for the users' data. The machine writes to it. */
  readonly data?: string | undefined;
  /** A folder of the host that the guest can read (9p), and the tag that it mounts it by. */
  readonly share?: { readonly path: string; readonly tag: string } | undefined;
  /** Extra words at the end of the kernel command line. */
  readonly append?: readonly string[];
  readonly publish: readonly Publish[];
  /** The network cards. Published ports lead to the first one. Default: one, on QEMU's own network. */
  readonly cards?: readonly Card[];
  /** Omits the network card. */
  readonly noNetwork?: boolean;
  /** The guest reaches neither the host nor the network. Published ports still reach the guest. */
  readonly restrict?: boolean;
  /** Enables QEMU's sandbox, unless `extra` contains a `-sandbox` option. */
  readonly sandbox?: boolean;
  /** Extra arguments at the end of QEMU's command line. */
  readonly extra?: readonly string[];
}

/** A network card and QEMU's network at its other end. */
export interface Card {
  /** Default: QEMU's own. */
  readonly mac?: string;
  /** Default: 10.0.2.0/24, with the guest at 10.0.2.15, the host at 10.0.2.2 and the name server at 10.0.2.3. */
  readonly subnet?: Subnet;
}

/** IPv4 addresses. The three of them are different, and in the network. */
export interface Subnet {
  /** The address of the network, with the length of its prefix. */
  readonly network: string;
  readonly guest: string;
  readonly host: string;
  readonly nameServer: string;
}

export interface Image {
  readonly path: string;
  /** Size in bytes, a multiple of 2 MiB. */
  readonly size: number;
}

/** The host's ends of the machine's ports and console. */
export interface Connections {
  /** Unix sockets that QEMU connects to, by port name. */
  readonly ports: Readonly<Record<string, string>>;
  /** The console is on QEMU's own terminal and copied to this file. If undefined, it is QEMU's standard output. */
  readonly terminalLog?: string;
}

/** How a read-only image is attached, its device in the guest, and the number of disks that come before others. */
const IMAGES: Readonly<
  Record<
    Emulator['image'],
    {
      readonly source: string;
      readonly disks: number;
      readonly flags: string;
      arguments(image: Image, bus: string): string[];
    }
  >
> = {
  // The guest maps files from the host's page cache (DAX). Nothing is read or copied.
  pmem: {
    source: '/dev/pmem0',
    disks: 0,
    flags: word('usrFlags', 'dax'),
    arguments: ({ path, size }, bus) => [
      '-object',
      `memory-backend-file,id=usr,mem-path=${escaped(path)},size=${size},share=on,readonly=on`,
      ...['-device', `virtio-pmem-${bus},memdev=usr`],
    ],
  },
  disk: {
    source: '/dev/vda',
    disks: 1,
    flags: '',
    arguments: ({ path }, bus) => [
      ...['-drive', `if=none,id=usr,file=${escaped(path)},format=raw,readonly=on`],
      ...['-device', `virtio-blk-${bus},drive=usr`],
    ],
  },
};

/** The disks behind the runtime's image, in the order in which the guest finds them, and the words that name them. */
const DISKS = [
  { id: 'container', word: 'container', options: 'readonly=on' },
  { id: 'changes', word: 'upper', options: 'discard=unmap' },
  { id: 'data', word: 'data', options: 'discard=unmap' },
] as const;

interface Disk {
  readonly id: string;
  readonly path: string;
  readonly options: string;
  /** For the kernel command line. */
  readonly word: string;
}

function disksOf(options: MachineOptions): Disk[] {
  const earlier = options.usr ? IMAGES[options.board.emulator.image].disks : 0;
  const there = DISKS.filter(({ id }) => options[id] !== undefined);
  return there.map((disk, index) => ({
    ...disk,
    path: options[disk.id] ?? '',
    word: word(disk.word, `/dev/vd${'abcd'.charAt(earlier + index)}`),
  }));
}

/** The kernel command line of a machine that powers off at the end. */
export function commandLine(options: MachineOptions): string {
  const { board, cpus, accelerator, usr, append = [] } = options;
  const { emulator } = board;
  const image = IMAGES[emulator.image];
  return [
    `console=${board.console}`,
    // The root is a tmpfs with a size limit, which statfs(2) reports. It gets 90 % of the memory, because it may hold
    // the whole system.
    ...['quiet', 'panic=-1', 'rootfstype=tmpfs', 'initramfs_options=size=90%'],
    emulator.append,
    ...(accelerator === 'tcg' ? [emulator.appendEmulated, cpus === 1 ? emulator.appendEmulatedAlone : ''] : []),
    ...(usr ? [word('usr', image.source), image.flags] : []),
    ...disksOf(options).map((disk) => disk.word),
    word('onExit', 'poweroff'),
    ...append,
  ]
    .filter((part) => part !== '')
    .join(' ');
}

/** Builds the arguments, without the program name. */
export function qemuArguments(options: MachineOptions, connections: Connections): string[] {
  const { emulator } = options.board;
  const { bus } = emulator;
  return [
    ...['-name', 'nodeos', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...(options.sandbox && !hasOwnSandbox(options.extra ?? []) ? SANDBOX : []),
    ...['-machine', emulator.machine, '-accel', options.accelerator],
    ...processor(options),
    ...['-m', memoryArgument(options), '-smp', String(options.cpus)],
    ...(options.medium ? mediumArguments(options.medium, options.board) : kernelArguments(options)),
    ...(options.usr ? IMAGES[emulator.image].arguments(options.usr, bus) : []),
    ...disksOf(options).flatMap((disk) => diskArguments(disk, bus)),
    ...(options.share ? shareArguments(options.share, bus) : []),
    ...(hasPorts(options.board) ? ['-device', `virtio-rng-${bus}`] : []),
    ...(options.noNetwork ? [] : network(options, bus)),
    ...(hasPorts(options.board) ? ['-device', `virtio-serial-${bus}`] : []),
    ...Object.entries(connections.ports).flatMap(([name, path]) => port(name, path)),
    ...consoleArguments(connections),
    ...(options.extra ?? []),
  ];
}

/** Whether the guest can talk to the host by virtio-serial ports. */
export const hasPorts = ({ emulator }: Board): boolean => emulator.bus !== 'usb';

/** All features of the accelerator. Node.js runs much faster with them than on QEMU's default model. */
function processor({ accelerator, board }: MachineOptions): string[] {
  const model = accelerator === 'tcg' ? board.emulator.cpuEmulated : 'host';
  return model === undefined ? [] : ['-cpu', model];
}

function kernelArguments(options: MachineOptions): string[] {
  const { kernel, initramfs } = options;
  if (kernel === undefined || initramfs === undefined) throw new TypeError('a machine needs a kernel or a medium');
  return ['-kernel', kernel, '-initrd', initramfs, '-append', commandLine(options)];
}

const diskArguments = ({ id, path, options }: Disk, bus: string): string[] => [
  ...['-drive', `if=none,id=${id},file=${escaped(path)},format=raw,${options}`],
  ...['-device', `virtio-blk-${bus},drive=${id}`],
];

/** https://wiki.qemu.org/Documentation/9psetup */
const shareArguments = ({ path, tag }: { readonly path: string; readonly tag: string }, bus: string): string[] => [
  '-fsdev',
  `local,id=share,path=${escaped(path)},security_model=none,readonly=on,multidevs=remap`,
  ...['-device', `virtio-9p-${bus},fsdev=share,mount_tag=${tag}`],
];

/** An image in persistent memory needs addresses beyond the machine's own memory. */
function memoryArgument({ memory, usr, board }: MachineOptions): string {
  if (!usr || board.emulator.image !== 'pmem') return memory;
  return `${memory},slots=1,maxmem=${mebibytesOf(memory) + Math.ceil(usr.size / (1 << 20))}M`;
}

/** Converts a memory size to MiB. @param memory in QEMU's notation: `256M`, `1G` */
export const mebibytesOf = (memory: string): number => Number.parseInt(memory, 10) * (memory.endsWith('G') ? 1024 : 1);

/** Formats a memory size in QEMU's notation. */
export const memoryOf = (mebibytes: number): string =>
  mebibytes % 1024 === 0 ? `${mebibytes / 1024}G` : `${mebibytes}M`;

const NETWORK_CARDS: Readonly<Record<Emulator['bus'], (netdev: string) => string>> = {
  pci: (netdev) => `virtio-net-pci,netdev=${netdev},romfile=`, // no boot ROM, because nothing boots from the network
  device: (netdev) => `virtio-net-device,netdev=${netdev}`,
  usb: (netdev) => `usb-net,netdev=${netdev}`,
};

/** User networking needs no root. */
function network({ publish, restrict = false, cards = [{}] }: MachineOptions, bus: Emulator['bus']): string[] {
  return cards.flatMap(({ mac, subnet }, index) => {
    const id = `net${index}`;
    const places = subnet
      ? [`net=${subnet.network}`, `host=${subnet.host}`, `dns=${subnet.nameServer}`, `dhcpstart=${subnet.guest}`]
      : [];
    const guest = subnet?.guest ?? '';
    const forwards =
      index > 0 ? [] : publish.map((p) => `hostfwd=${p.protocol}:${p.address}:${p.host}-${guest}:${p.guest}`);
    return [
      '-netdev',
      ['user', `id=${id}`, ...(restrict ? ['restrict=on'] : []), ...places, ...forwards].join(','),
      '-device',
      [NETWORK_CARDS[bus](id), ...(mac === undefined ? [] : [`mac=${mac}`])].join(','),
    ];
  });
}

function port(name: string, path: string): string[] {
  const id = name.replaceAll('.', '-');
  return ['-chardev', `socket,id=${id},path=${path}`, '-device', `virtserialport,chardev=${id},name=${name}`];
}

function consoleArguments({ terminalLog }: Connections): string[] {
  return terminalLog === undefined
    ? ['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console']
    : [
        '-chardev',
        `stdio,id=console,signal=off,mux=on,logfile=${terminalLog}`,
        '-serial',
        'chardev:console',
        '-mon',
        'chardev=console',
      ];
}
