/** nodeos oci pull: fetches an image into the cache. */
import { formatSize } from '@nodeos/base';
import type { Command } from '../command.js';
import { operandsOf } from '../nbd/options.js';
import { metered, withImage } from './open.js';
import { IMAGE_OPTIONS } from './options.js';

export const pullCommand: Command = {
  name: 'oci pull',
  summary: 'Fetches an image into the cache, checks all of it, and prints its digest.',
  operands: 'IMAGE',
  options: IMAGE_OPTIONS,
  examples: [
    ['nodeos oci pull docker://debian:12', 'from a registry; what is interrupted goes on the next time'],
    ['nodeos oci pull docker://127.0.0.1:5000/app:1 --platform linux/arm64', 'the image for another machine'],
    ['nodeos oci pull docker://debian:12 --mirror docker.io=mirror.example/hub', 'a mirror is asked first'],
  ],
  async run(args, io) {
    const [name = ''] = operandsOf('oci pull', args, 'IMAGE');
    await withImage(name, args, io, async (image) => {
      const { digest, size, manifest } = image;
      await metered('fetched', size, args, io, (progress) => image.fetch(progress));
      const layers = manifest.layers.length;
      if (args.flag('json')) io.stdout.write(`${JSON.stringify({ event: 'done', digest, size, layers })}\n`);
      else io.stdout.write(`${digest}  ${layers} layers, ${formatSize(size)}\n`);
    });
    return 0;
  },
};
