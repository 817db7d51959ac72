/**
 * Formats of virtual machines' disks, which `qemu-img` converts from a raw disk.
 * https://www.qemu.org/docs/master/tools/qemu-img.html
 */
import { join } from 'node:path';
import { inputPath, type Artifact, type StepContext } from '@nodeos/engine';
import { sha256OfFile } from './digest.js';
import type { Format, FormatParts } from './format.js';
import { setVhdIdentity } from './vhd.js';
import { setVmdkIdentity } from './vmdk.js';

interface Conversion extends Pick<Format, 'name' | 'summary'> {
  /** QEMU's name of the format. */
  readonly image: Exclude<NonNullable<Format['image']>, 'raw'>;
  /** The values of `-o`. */
  readonly options: readonly string[];
  /**
   * Replaces what qemu-img takes from chance or from the clock.
   * @param digest 32 bytes that differ between contents
   */
  readonly settle?: (path: string, digest: Buffer) => Promise<void>;
}

const CONVERSIONS: readonly Conversion[] = [
  {
    name: 'qcow2',
    summary: 'a disk for QEMU, libvirt, Proxmox and OpenStack',
    image: 'qcow2',
    options: ['compat=1.1', 'cluster_size=65536'],
  },
  {
    name: 'vmdk',
    summary: 'a disk for VMware and VirtualBox',
    image: 'vmdk',
    options: ['subformat=monolithicSparse', 'adapter_type=ide'],
    settle: setVmdkIdentity,
  },
  {
    // Azure takes only fixed ones, and Hyper-V and VirtualBox take them as well. The size is not rounded to cylinders.
    name: 'vhd',
    summary: 'a disk of fixed size for Hyper-V and Azure',
    image: 'vpc',
    options: ['subformat=fixed', 'force_size=on'],
    settle: setVhdIdentity,
  },
];

export const CONVERTED: readonly Format[] = CONVERSIONS.map((conversion) => {
  const { name, summary, image, options } = conversion;
  const file = `nodeos.${name}`;
  return {
    name,
    summary,
    image,
    files: [file],
    build({ loaders: { target } }: FormatParts, made: (name: string) => Artifact) {
      const disk = made('disk');
      return {
        name,
        target,
        recipe: import.meta.url,
        parameters: { image, options },
        tools: ['qemu-img'],
        inputs: { disk: disk.step },
        build: (context: StepContext) => convert(context, conversion, inputPath(context, 'disk', disk), file),
      };
    },
  };
});

async function convert(context: StepContext, { image, options, settle }: Conversion, from: string, file: string) {
  const to = join(context.dir, file);
  await context.run('qemu-img', ['convert', '-f', 'raw', '-O', image, '-o', options.join(','), from, to]);
  await settle?.(to, await sha256OfFile(from));
}
