/** QEMU's command line for the distribution: the same virtual hardware that NodeOS gets. */
import type { DistributionImage } from './image.js';

export interface DistributionBootOptions {
  /** As QEMU takes it: `1G`. */
  readonly memory: string;
  readonly cpus: number;
  /** Of the host's loopback; leads to port 80 of the guest. */
  readonly port: number;
  readonly accelerator: string;
  readonly cpu: string;
}

/** @returns the arguments, without the program. The console is QEMU's standard output; the disk stays as it is. */
export function distributionArguments(image: DistributionImage, options: DistributionBootOptions): string[] {
  return [
    ...['-name', 'distribution', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-machine', 'q35', '-accel', options.accelerator, '-cpu', options.cpu],
    ...['-m', options.memory, '-smp', String(options.cpus)],
    ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', 'root=/dev/vda rw console=ttyS0 quiet'],
    ...['-drive', `if=none,id=disk0,format=raw,snapshot=on,file=${image.disk.replaceAll(',', ',,')}`],
    ...['-device', 'virtio-blk-pci,drive=disk0'],
    ...['-netdev', `user,id=net0,hostfwd=tcp:127.0.0.1:${options.port}-:80`],
    ...['-device', 'virtio-net-pci,netdev=net0,romfile='],
    ...['-device', 'virtio-rng-pci'],
    ...['-serial', 'stdio'],
  ];
}
