/** Opens the image that a command line names. */
import { join } from 'node:path';
import { defaultRoot } from '@nodeos/engine';
import { BlobCache, openImage, parseMirror, parsePlatform, type Image } from '@nodeos/oci';
import type { Io, Option, Parsed } from '../command.js';
import { meterFor, type Meter } from '../nbd/progress.js';
import { unlessStopped } from '../nbd/stop.js';

export const IMAGE_OPTIONS = {
  platform: {
    type: 'string',
    value: 'OS/ARCH',
    help: 'which image of an index: linux/amd64, linux/arm/v7 (default: that of this machine)',
  },
  mirror: {
    type: 'string',
    value: 'FROM=TO',
    multiple: true,
    help: 'ask TO first for images of FROM, both HOST[/PATH]; can be repeated',
  },
  'plain-http': { type: 'boolean', help: 'speak to registries without TLS (default: only on the loopback)' },
  json: { type: 'boolean', help: 'JSON instead of text' },
} as const satisfies Readonly<Record<string, Option>>;

/** Does the work with an image, which is closed then. */
export async function withImage<T>(name: string, args: Parsed, io: Io, work: (image: Image) => Promise<T>): Promise<T> {
  const platform = args.text('platform');
  const image = await openImage(name, {
    cache: new BlobCache(join(defaultRoot(), 'images')),
    signal: io.signal,
    mirrors: args.texts('mirror').map(parseMirror),
    ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
    ...registryOptions(args),
  });
  try {
    return await unlessStopped(work(image), io);
  } finally {
    await image.close();
  }
}

export const registryOptions = (args: Parsed): { readonly isPlain?: boolean } =>
  args.flag('plain-http') ? { isPlain: true } : {};

/** Shows how much of `size` bytes has come, while `work` is done. */
export async function metered<T>(
  action: string,
  size: number,
  args: Parsed,
  io: Io,
  work: (progress: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  const meter: Meter = meterFor(action, args, io);
  let done = 0;
  try {
    return await work((bytes) => meter.update(Math.min(size, (done += bytes)), size));
  } finally {
    meter.close();
  }
}
