/** What a format is: a way to hand a system to a machine, as one file or as a folder of files. */
import type { Artifact, Step } from '@nodeos/engine';
import type { Part } from '@nodeos/rootfs';
import type { BootParts } from '../uki.js';

/** What formats are made of. */
export interface FormatParts extends BootParts {
  /** The file of the kernel that hypervisors start without firmware. */
  readonly direct: Artifact<'kernel'>;
  readonly deviceTrees: readonly Artifact<'file'>[];
  /** The whole system with its runtime. */
  readonly wholeInitramfs: Artifact<'initramfs'>;
  /** Only connects to a root on the network. */
  readonly initramfsStream: Artifact<'initramfs'>;
  /** The root filesystem as an image for NBD servers. */
  readonly root: Artifact<'image'>;
  /** All parts of the root filesystem. */
  readonly rootParts: readonly Part[];
}

/** The names of the files in a step's output. */
export type Files = readonly [string, ...string[]];

export interface Format {
  readonly name: string;
  readonly summary: string;
  readonly files: Files;
  /** The files belong together: copies of them get a folder with the name of the format. Default: false. */
  readonly isFolder?: boolean;
  /** What QEMU calls an image of this kind; undefined if no firmware boots from it. */
  readonly image?: 'raw' | 'qcow2' | 'vmdk' | 'vpc';
  /** How the image is attached to a machine, if not as a disk. */
  readonly drive?: 'usb' | 'cdrom' | 'card';
  /** The only target that it is for. Default: all. */
  readonly target?: string;
  /** What starts it. Default: the BIOS or UEFI of its machine. */
  readonly firmware?: 'raspi';
  /** @param made the file of another format, which this one is made from */
  build(parts: FormatParts, made: (name: string) => Artifact): Step;
}
