/** nodeos oci image: a filesystem, or an archive, of an image and of files of this machine. */
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { codeOf, formatSize, messageOf, NodeosError, replaceFile, UsageError } from '@nodeos/base';
import { fromDirectory, type Tree } from '@nodeos/tree';
import type { Command } from '../command.js';
import { checkProgram, withInstalled } from '../missing-tools.js';
import { operandsOf } from '../nbd/options.js';
import { FORMATS } from './formats.js';
import { metered, withImage } from './open.js';
import { IMAGE_OPTIONS } from './options.js';

export const imageCommand: Command = {
  name: 'oci image',
  summary: 'Makes a filesystem or an archive of an image, all layers merged. The same image gives the same bytes.',
  operands: 'IMAGE',
  options: {
    format: {
      type: 'string',
      short: 'f',
      value: FORMATS.map(({ name }) => name).join('|'),
      help: "what is made (default: what the file's name ends with, else erofs)",
    },
    out: { type: 'string', short: 'o', value: 'FILE', help: "where it goes (default: the image's name, here)" },
    add: {
      type: 'string',
      value: 'FILE[:PATH]',
      multiple: true,
      help: 'also a file or a folder of this machine, at PATH of the tree; can be repeated',
    },
    ...IMAGE_OPTIONS,
  },
  examples: [
    ['nodeos oci image docker://debian:12 --out debian.erofs', 'a root for a machine'],
    [
      'nodeos oci image oci:layout --format squashfs --add init:/sbin/init --add etc',
      'layers and more files, for a micro-VM',
    ],
    ['nodeos oci image docker-archive:app.tar --out app.ext4', 'a root that can be written'],
  ],
  async run(args, io) {
    const [name = ''] = operandsOf('oci image', args, 'IMAGE');
    const { format, out } = destinationOf(name, args.text('format'), args.text('out'));
    const added = args.texts('add').map(parseAdded);
    const { program } = format;
    if (program !== undefined) await withInstalled(io, () => checkProgram(program));
    await withImage(name, args, io, async (image) => {
      const tree = await metered('fetched', image.size, args, io, (progress) => image.tree(progress, addedTree(added)));
      try {
        await replaceFile(out, (path) => format.write(() => tree.entries(), path, io.signal)).catch(
          (error: unknown) => {
            io.signal.throwIfAborted();
            if (error instanceof NodeosError) throw error;
            throw new NodeosError(`cannot make ${out} of ${name}: ${messageOf(error)}`, { cause: error });
          },
        );
      } finally {
        await tree.close();
      }
      const { size } = await stat(out);
      const done = { event: 'done', file: out, format: format.name, size, digest: image.digest };
      io.stdout.write(args.flag('json') ? `${JSON.stringify(done)}\n` : `${out}  ${formatSize(size)}\n`);
    });
    return 0;
  },
};

function destinationOf(
  name: string,
  format: string | undefined,
  out: string | undefined,
): { format: (typeof FORMATS)[number]; out: string } {
  const wanted = format ?? FORMATS.find((one) => out?.endsWith(`.${one.name}`))?.name ?? 'erofs';
  const found = FORMATS.find((one) => one.name === wanted);
  if (!found) throw new UsageError(`--format ${wanted}: expected ${FORMATS.map((one) => one.name).join(', ')}`);
  const plain =
    basename(name.replace(/^[a-z-]+:/, '').replace(/@.*$/, ''))
      .replace(/[:/]/g, '-')
      .replace(/\.tar$/, '') || 'image';
  return { format: found, out: resolve(out ?? `${plain}.${found.name}`) };
}

interface Added {
  readonly from: string;
  /** In the tree, without a slash at its ends. */
  readonly to: string;
}

function parseAdded(text: string): Added {
  const colon = text.lastIndexOf(':');
  const [from, path] = colon > 0 ? [text.slice(0, colon), text.slice(colon + 1)] : [text, undefined];
  const parts = (path ?? basename(resolve(from))).split('/').filter((part) => part !== '');
  if (from !== '' && !parts.some((part) => part === '.' || part === '..')) return { from, to: parts.join('/') };
  throw new UsageError(`--add ${text}: expected FILE[:PATH]`, { hint: '--add init:/sbin/init' });
}

/** Files of this machine, all of root and of time 0, so that the same files give the same bytes. */
async function* addedTree(all: readonly Added[]): Tree {
  for (const { from, to } of all) {
    const found = await stat(from).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') throw new UsageError(`--add ${from}: there is no such file`);
      throw error;
    });
    if (found.isDirectory()) yield* fromDirectory(from, { prefix: to });
    else yield* oneFile(from, to);
  }
}

async function* oneFile(from: string, to: string): Tree {
  const folder = resolve(from, '..');
  for await (const entry of fromDirectory(folder, { filter: (path) => path === basename(from) })) {
    yield { ...entry, path: to };
  }
}
