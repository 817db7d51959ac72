/** QEMU's command line for a machine: a pure function of the options. https://www.qemu.org/docs/master/system/ */
import type { Machine, Target } from '@nodeos/build';
import type { Publish } from './ports.js';

export interface MachineOptions {
  readonly target: Target;
  /** A name among the target's machines. */
  readonly machine: string;
  readonly accelerator: string;
  /** As QEMU takes it: `256M`, `1G`. */
  readonly memory: string;
  readonly cpus: number;
  readonly kernel: string;
  readonly initramfs: string;
  /** The kernel's command line. */
  readonly append: string;
  readonly publish: readonly Publish[];
  /** No network card at all. */
  readonly noNetwork?: boolean;
  /** More arguments for QEMU, at the end. */
  readonly extra?: readonly string[];
}

/** Where the machine's lines end, on the host. */
export interface Connections {
  /** Unix sockets that QEMU connects to, by the name of the port. */
  readonly ports: Readonly<Record<string, string>>;
  /** The console on QEMU's own terminal, with a copy in this file; otherwise it is QEMU's standard output. */
  readonly terminalLog?: string;
}

export function machineOf(options: Pick<MachineOptions, 'target' | 'machine'>): Machine | undefined {
  const { machines } = options.target;
  return Object.hasOwn(machines, options.machine) ? machines[options.machine] : undefined;
}

/** The kernel's command line of a machine that powers off in the end, with more words after it; empty ones are left out. */
export function commandLine(
  { target, machine }: Pick<MachineOptions, 'target' | 'machine'>,
  ...more: string[]
): string {
  const own = machineOf({ target, machine })?.append ?? '';
  const words = [`console=${target.console}`, 'quiet', 'panic=-1', 'rootfstype=ramfs', own, 'nodeos.onexit=poweroff'];
  return [...words, ...more].filter((word) => word !== '').join(' ');
}

/** @returns the arguments, without the program. */
export function qemuArguments(options: MachineOptions, connections: Connections): string[] {
  const machine = machineOf(options);
  if (!machine) throw new Error(`${options.target.name} has no machine ${options.machine}`);
  const { bus } = machine;
  return [
    ...['-name', 'nodeos', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', machine.machine, '-accel', options.accelerator],
    // Every feature that the accelerator has: Node.js runs much faster with them than on QEMU's default model.
    ...['-cpu', options.accelerator === 'tcg' ? 'max' : 'host'],
    ...['-m', options.memory, '-smp', String(options.cpus)],
    ...['-kernel', options.kernel, '-initrd', options.initramfs, '-append', options.append],
    ...['-device', `virtio-rng-${bus}`],
    ...(options.noNetwork ? [] : network(options.publish, bus)),
    ...['-device', `virtio-serial-${bus}`],
    ...Object.entries(connections.ports).flatMap(([name, path]) => port(name, path)),
    ...consoleArguments(connections),
    ...(options.extra ?? []),
  ];
}

/** User networking: the guest is 10.0.2.15, the host 10.0.2.2; no root is needed. */
function network(publish: readonly Publish[], bus: Machine['bus']): string[] {
  const forwards = publish.map((p) => `,hostfwd=${p.protocol}:${p.address}:${p.host}-:${p.guest}`).join('');
  // No boot ROM: nothing is booted from the network.
  const rom = bus === 'pci' ? ',romfile=' : '';
  return ['-netdev', `user,id=net0${forwards}`, '-device', `virtio-net-${bus},netdev=net0${rom}`];
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
