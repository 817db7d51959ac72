/** Opens the image that a command line names. */
import { imageCache } from '@nodeos/disk/container-image';
import { openImage, parseMirror, parsePlatform, type Image, type Platform } from '@nodeos/oci';
import type { Io, Parsed } from '../command.js';
import { meterFor, type Meter } from '../nbd/progress.js';
import { unlessStopped } from '../nbd/stop.js';

/**
 * Does the work with an image, which is closed then.
 * @param wanted which image of an index. Default: what the command line says, else that of this machine
 */
export async function withImage<T>(
  name: string,
  args: Parsed,
  io: Io,
  work: (image: Image) => Promise<T>,
  wanted?: Platform,
): Promise<T> {
  const named = args.text('platform');
  const platform = wanted ?? (named === undefined ? undefined : parsePlatform(named));
  const image = await openImage(name, {
    cache: imageCache(),
    signal: io.signal,
    mirrors: args.texts('mirror').map(parseMirror),
    ...(platform && { platform }),
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
