/**
 * A folder for machines that start from the network. iPXE runs `boot.ipxe`, which fetches the kernel and an initramfs; that
 * connects to the root on an NBD server (docs/stream.md). A UEFI that boots by HTTP fetches `nodeos.efi`, which has the whole
 * system in it. https://ipxe.org/scripting
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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
    const { kernel, initramfsStream, root, wholeInitramfs, loaders, board } = parts;
    const uki = unifiedKernel('uki-pxe', { kernel, initramfs: wholeInitramfs, loaders, board });
    const copies = { [FILES.kernel]: kernel, [FILES.initramfs]: initramfsStream, [FILES.root]: root, [FILES.uki]: uki };
    return {
      name: 'pxe',
      target: loaders.target,
      recipe: import.meta.url,
      parameters: { console: board.console },
      inputs: inputsOf(copies),
      async build(context) {
        await copyInto(context, copies);
        await writeFile(join(context.dir, SCRIPT), scriptOf(board.console));
        await writeFile(join(context.dir, README), TEXT);
      },
    };
  },
};

const scriptOf = (console: string): string => `#!ipxe
# Settings that a script may set before it chains this one:
#   nbd     the NBD server with the root (default: who served this file)
#   words   more words for the kernel's command line
isset \${nbd} || set nbd \${next-server}
kernel ${FILES.kernel} initrd=${FILES.initramfs} console=tty0 console=${console} quiet panic=10 ip=dhcp root=nbd://\${nbd}/ rootfstype=erofs \${words}
initrd ${FILES.initramfs}
boot
`;

const TEXT = `NodeOS for machines that boot from the network

1. Serve the root. Whoever reaches the port can read it:

     nodeos nbd serve ${FILES.root} --read-only --listen nbd://0.0.0.0

2. Serve this folder by TFTP and name ${SCRIPT} to machines that run iPXE, on the same host. With dnsmasq, in a network
   that has a DHCP server already (here 192.168.1.0):

     dnsmasq --no-daemon --port=0 --dhcp-range=192.168.1.0,proxy --enable-tftp --tftp-root="$PWD" \\
       --dhcp-userclass=set:ipxe,iPXE --pxe-service=tag:ipxe,x86PC,NodeOS,${SCRIPT} \\
       --pxe-service=tag:!ipxe,x86PC,iPXE,undionly.kpxe

   undionly.kpxe is iPXE itself, for machines that have only PXE: http://boot.ipxe.org/undionly.kpxe

   Or by HTTP: in iPXE, type   dhcp   and   chain http://SERVER/${SCRIPT}   after   set nbd SERVER

3. UEFI with HTTP boot: let the DHCP server name http://SERVER/${FILES.uki}. It needs no NBD server: the whole system is
   in it. The machine needs 512 MiB of memory.

To try it in QEMU, from this folder, after step 1:

  qemu-system-x86_64 -m 512M -nographic -boot n -device virtio-net-pci,netdev=net \\
    -netdev user,id=net,tftp=.,bootfile=${SCRIPT}
`;
