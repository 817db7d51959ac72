/**
 * A folder for Firecracker: `firecracker --no-api --config-file vm.json`.
 * https://github.com/firecracker-microvm/firecracker/blob/main/src/firecracker/swagger/firecracker.yaml
 * (FullVmConfiguration)
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { word } from '@nodeos/contract';
import { copyInto, inputsOf } from './copies.js';
import type { Format } from './format.js';

const CONFIG = 'vm.json';
const FILES = { kernel: 'kernel', initramfs: 'initramfs-base', usr: 'usr.erofs' } as const;
/** As `nodeos start` has it. */
const MEMORY_MIB = 256;

export const FIRECRACKER: Format = {
  name: 'firecracker',
  summary: 'a folder for Firecracker: firecracker --no-api --config-file vm.json',
  files: [CONFIG, ...Object.values(FILES)],
  isFolder: true,
  build({ direct, initramfs, usr, board, words, loaders: { target } }) {
    const copies = { [FILES.kernel]: direct, [FILES.initramfs]: initramfs, [FILES.usr]: usr };
    return {
      name: 'firecracker',
      target,
      recipe: import.meta.url,
      parameters: { console: board.console, words },
      inputs: inputsOf(copies),
      async build(context) {
        await copyInto(context, copies);
        await writeFile(join(context.dir, CONFIG), `${JSON.stringify(configOf(board.console, words), null, 2)}\n`);
      },
    };
  },
};

/** Paths are relative to the folder that Firecracker is started in. */
const configOf = (console: string, words: readonly string[]): object => ({
  'boot-source': {
    kernel_image_path: FILES.kernel,
    initrd_path: FILES.initramfs,
    boot_args: [
      // There is no PCI; and the end of the machine is a reset by the keyboard's controller.
      ...[`console=${console}`, 'quiet', 'pci=off', 'reboot=k', 'panic=1', word('powerOff', 'reset')],
      ...['rootfstype=tmpfs', 'initramfs_options=size=90%', word('usr', '/dev/vda'), ...words],
    ].join(' '),
  },
  drives: [{ drive_id: 'usr', path_on_host: FILES.usr, is_root_device: false, is_read_only: true }],
  'machine-config': { vcpu_count: 1, mem_size_mib: MEMORY_MIB },
});
