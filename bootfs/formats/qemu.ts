/** A folder for QEMU: `./run.sh`. https://www.qemu.org/docs/master/system/invocation.html */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { word } from '@nodeos/contract';
import type { Board } from '@nodeos/targets';
import { copyInto, inputsOf } from './copies.js';
import type { Format } from './format.js';

const SCRIPT = 'run.sh';
const FILES = { kernel: 'kernel', initramfs: 'initramfs-base', usr: 'usr.erofs' } as const;

export const QEMU: Format = {
  name: 'qemu',
  summary: 'a folder for QEMU: ./run.sh',
  files: [SCRIPT, ...Object.values(FILES)],
  isFolder: true,
  build({ direct, initramfs, usr, board, words, loaders: { target } }) {
    const copies = { [FILES.kernel]: direct, [FILES.initramfs]: initramfs, [FILES.usr]: usr };
    return {
      name: 'qemu',
      target,
      recipe: import.meta.url,
      parameters: { console: board.console, emulator: board.emulator, words },
      inputs: inputsOf(copies),
      async build(context) {
        await copyInto(context, copies);
        const path = join(context.dir, SCRIPT);
        await writeFile(path, scriptOf(board, words));
        await chmod(path, 0o755);
      },
    };
  },
};

/** Text within double quotes of a shell. */
const quoted = (text: string): string => text.replace(/[\\"$`]/g, '\\$&');

function scriptOf({ console, emulator }: Board, more: readonly string[]): string {
  const { program, machine, bus, append, appendEmulated } = emulator;
  const words = [
    ...[`console=${console}`, 'quiet', 'panic=-1', 'rootfstype=tmpfs', 'initramfs_options=size=90%', append],
    ...[appendEmulated, word('usr', '/dev/vda'), ...more.map(quoted), '$WORDS'],
  ].filter((text) => text !== '');
  return `#!/bin/sh
# Starts the system of this folder in QEMU. Ctrl-A X ends it. Arguments go to QEMU.
#
#   MEMORY   of the machine (256M)          PORT    of this host, for port 80 of the machine (8080)
#   ACCEL    kvm, tcg (the first that works) WORDS  more words for the kernel's command line
set -eu
cd "$(dirname "$0")"
WORDS="\${WORDS:-}"
if [ -n "\${ACCEL:-}" ]; then accel="-accel $ACCEL"; else accel="-accel kvm -accel tcg"; fi
exec ${program} -nodefaults -no-user-config -no-reboot -display none -serial mon:stdio \\
  -machine ${machine} $accel -cpu max -m "\${MEMORY:-256M}" \\
  -kernel ${FILES.kernel} -initrd ${FILES.initramfs} \\
  -append "${words.join(' ')}" \\
  -drive if=none,id=usr,file=${FILES.usr},format=raw,readonly=on -device virtio-blk-${bus},drive=usr \\
  -netdev "user,id=net,hostfwd=tcp:127.0.0.1:\${PORT:-8080}-:80" -device virtio-net-${bus},netdev=net${bus === 'pci' ? ',romfile=' : ''} \\
  -device virtio-rng-${bus} "$@"
`;
}
