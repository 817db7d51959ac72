/**
 * A folder for machines that start from the network. iPXE runs `boot.ipxe`, which fetches the kernel and an initramfs; that
 * connects to the root on an NBD server (docs/stream.md). A UEFI that boots by HTTP fetches `nodeos.efi`, which has the whole
 * system in it. https://ipxe.org/scripting
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeosError } from '@nodeos/base';
import { unifiedKernel } from '../uki.js';
import { copyInto, inputsOf } from './copies.js';
import type { Format } from './format.js';

const FILES = { kernel: 'kernel', initramfs: 'initramfs-stream', root: 'root.erofs', uki: 'nodeos.efi' } as const;
const SCRIPT = 'boot.ipxe';
const README = 'README.txt';

export const PXE: Format = {
  name: 'pxe',
  summary: 'a folder for machines that boot from the network: iPXE with a root over NBD, and UEFI by HTTP',
  files: [SCRIPT, ...Object.values(FILES), README],
  isFolder: true,
  build(parts) {
    const { kernel, initramfsStream, root, wholeInitramfs, loaders, board, words } = parts;
    const uki = unifiedKernel('uki-pxe', { kernel, initramfs: wholeInitramfs, loaders, board, words });
    const copies = { [FILES.kernel]: kernel, [FILES.initramfs]: initramfsStream, [FILES.root]: root, [FILES.uki]: uki };
    return {
      name: 'pxe',
      target: loaders.target,
      recipe: import.meta.url,
      parameters: { console: board.console, words },
      inputs: inputsOf(copies),
      async build(context) {
        await copyInto(context, copies);
        await writeFile(join(context.dir, SCRIPT), scriptOf(board.console, words));
        await writeFile(join(context.dir, README), TEXT);
      },
    };
  },
};

function scriptOf(console: string, words: readonly string[]): string {
  const text = words.join(' ');
  // iPXE knows no quotes that would keep it.
  if (text.includes('${')) throw new NodeosError(`pxe: iPXE would replace the variable in ${text}`);
  return `#!ipxe
# Settings that a script may set before it chains this one:
#   nbd     the NBD server with the root (default: who served this file)
#   words   more words for the kernel's command line
isset \${nbd} || set nbd \${next-server}
kernel ${FILES.kernel} initrd=${FILES.initramfs} console=tty0 console=${console} quiet panic=10 ip=dhcp root=nbd://\${nbd}/ rootfstype=erofs ${[...words, '${words}'].join(' ')}
initrd ${FILES.initramfs}
boot
`;
}

const TEXT = `NodeOS for machines that boot from the network. The lines are typed in this folder, on the host 192.168.1.2.

1. Serve the root. Whoever reaches the port can read it.

     nodeos nbd serve ${FILES.root} --read-only --listen nbd://0.0.0.0

2. Answer the machines. Here dnsmasq is the network's only DHCP server; with another one, set the same in that.

     dnsmasq --no-daemon --port=0 --interface=eth0 --dhcp-range=192.168.1.100,192.168.1.200 \\
       --enable-tftp --tftp-root="$PWD" \\
       --dhcp-match=set:ipxe,175 --dhcp-boot=tag:ipxe,${SCRIPT} \\
       --dhcp-match=set:http,option:client-arch,16 --dhcp-option-force=tag:http,60,HTTPClient \\
       --dhcp-boot=tag:http,http://192.168.1.2/${FILES.uki}

   The first --dhcp-boot is for machines with iPXE: ${SCRIPT} fetches the kernel by TFTP, and the root comes from step 1.
   (Machines that have only PXE start iPXE first: put its undionly.kpxe here, and add --dhcp-boot=tag:!ipxe,undionly.kpxe.)

   The second one is for UEFI with HTTP boot. ${FILES.uki} needs no step 1, since all of the system is in it, but a web server
   for this folder, and machines with 512 MiB of memory.

Without a DHCP server of your own, type at iPXE's prompt (Ctrl-B), with this folder on a web server:

  dhcp
  set nbd 192.168.1.2
  chain http://192.168.1.2/${SCRIPT}

To try it in QEMU after step 1:

  qemu-system-x86_64 -m 512M -nographic -boot n -device virtio-net-pci,netdev=net \\
    -netdev user,id=net,tftp=.,bootfile=${SCRIPT}
`;
