/** nodeos oci copy: an image to a registry, a layout or an archive. */
import { copyImage } from '@nodeos/oci';
import type { Command } from '../command.js';
import { operandsOf } from '../nbd/options.js';
import { metered, registryOptions, withImage } from './open.js';
import { IMAGE_OPTIONS } from './options.js';

export const copyCommand: Command = {
  name: 'oci copy',
  summary: 'Copies an image to a registry, into a layout or to an archive, byte for byte.',
  operands: 'IMAGE DESTINATION',
  options: IMAGE_OPTIONS,
  examples: [
    ['nodeos oci copy docker://debian:12 oci:layout:debian', 'into a folder, beside the images that are in it'],
    ['nodeos oci copy docker-archive:app.tar docker://127.0.0.1:5000/app:1', 'what docker save wrote, to a registry'],
    ['nodeos oci copy docker://debian:12 oci-archive:debian.tar', 'to one file, which docker load reads as well'],
  ],
  async run(args, io) {
    const [name = '', to = ''] = operandsOf('oci copy', args, 'IMAGE', 'DESTINATION');
    await withImage(name, args, io, async (image) => {
      // Fetched, and stored.
      const digest = await metered('copied', 2 * image.size, args, io, (progress) =>
        copyImage(image, to, { signal: io.signal, progress, ...registryOptions(args) }),
      );
      io.stdout.write(args.flag('json') ? `${JSON.stringify({ event: 'done', digest })}\n` : `${digest}\n`);
    });
    return 0;
  },
};
