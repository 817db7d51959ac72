/** Builds boot media: disks with slots for updates (disk.ts), and CDs (cd.ts). */
import { join } from 'node:path';
import { regions, writeImage } from '@nodeos/block';
import { word } from '@nodeos/contract';
import { artifact, inputPath, type Artifact, type Step } from '@nodeos/engine';
import { cdLayout } from './cd.js';
import { dataFilesystem } from './data.js';
import { diskLayout } from './disk.js';
import { hostFile } from './host-file.js';
import { unifiedKernel, type BootParts } from './uki.js';

/** A kind of boot medium. */
export interface MediaFormat {
  readonly name: string;
  readonly summary: string;
  readonly file: string;
  /** Whether it is a CD as well. */
  readonly isCd: boolean;
}

export const MEDIA_FORMATS: readonly MediaFormat[] = [
  { name: 'disk', summary: 'a disk, USB stick or SD card for PCs, by BIOS and UEFI', file: 'nodeos.img', isCd: false },
  {
    name: 'iso',
    summary: 'the same as a CD, which may also be written to a USB stick',
    file: 'nodeos.iso',
    isCd: true,
  },
];

/** Builds an image of that format. */
export function bootMedium(format: MediaFormat, parts: BootParts): Artifact<'image'> {
  const words = format.isCd ? [] : [word('data', 'PARTLABEL=data')];
  const { loaders } = parts;
  const usr = format.isCd ? parts.compressedUsr : parts.usr;
  const uki = unifiedKernel(`uki-${format.name}`, { ...parts, usr }, words);
  const { target } = loaders;
  const data = dataFilesystem(target);
  const step: Step = {
    name: format.name,
    target,
    recipe: import.meta.url,
    parameters: { format },
    inputs: { uki: uki.step, usr: usr.step, loaders, ...(format.isCd ? {} : { data: data.step }) },
    async build(context) {
      const contents = {
        target,
        uki: await hostFile(inputPath(context, 'uki', uki)),
        usr: await hostFile(inputPath(context, 'usr', usr)),
        loaders: context.input('loaders'),
      };
      const { list, size } = format.isCd
        ? await cdLayout(contents)
        : await diskLayout(contents, await hostFile(inputPath(context, 'data', data)));
      const image = regions(list, { size });
      await writeImage(image, join(context.dir, format.file)).finally(() => image.close());
    },
  };
  return artifact(step, 'image', format.file);
}
