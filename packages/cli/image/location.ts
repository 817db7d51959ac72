/**
 * Where something is in an image: `IMAGE[:PARTITION][/PATH]`. IMAGE is any SOURCE of packages/disk. Of a file of this
 * machine, the longest name that there is counts; of anything else, what follows a colon: `https://host/cd.iso:/EFI`. A
 * container's image has tags behind colons, and no partitions: `docker://debian:12:/etc`.
 */
import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { NodeosError, UsageError } from '@nodeos/base';
import { isContainerImage, parseLayers, pathBelow, textOf } from '@nodeos/disk';
import { unpacked } from '../compressed.js';

export interface Location {
  /** As it was written, for messages. */
  readonly text: string;
  /** The image, as packages/disk opens it. */
  readonly source: string;
  /** From 1 on. Undefined: the image is the filesystem. */
  readonly partition: number | undefined;
  /** From the root of the filesystem: begins with `/`, without `.` and `..`. */
  readonly path: string;
  /** Whether a partition or a path was written, or only the name of an image. */
  readonly isInside: boolean;
  /** Whether the path ends with `/`: a folder is meant. */
  readonly isFolder: boolean;
}

/** A source that is no file of this machine, up to a colon behind its host. A store's has one before its name. */
const REMOTE = /^(store:.*:[^:/]+|[a-z0-9+]+:\/\/[^/]*\/.*?|memory:[^:]+)(?::(\d*)(\/.*)?)?$/is;
const CONTAINER = /^([^:]+:.+?)(?::(\/.*))?$/s;
const PARTITION = /^(.+):(\d*)$/s;

/** @throws UsageError for an empty text, for two partitions in it, or for partition 0 */
export async function locationOf(text: string): Promise<Location> {
  const { layers, source } = parseLayers(text);
  const [first, ...others] = layers;
  const prefix = first?.kind === 'partition' && /^\d+$/.test(first.argument) ? Number(first.argument) : undefined;
  const { name, number, path } = pathBelow(source) === undefined ? remote(source) : await local(source);
  if (number !== undefined && prefix !== undefined) throw new UsageError(`${text}: it names two partitions`);
  if (number === 0) throw new UsageError(`${text}: partitions are counted from 1 on`);
  const inner = textOf({ layers: prefix === undefined ? layers : others, source: name });
  return {
    text,
    source: unpacked(inner),
    partition: number ?? prefix,
    path: posix.resolve('/', path ?? ''),
    isInside: number !== undefined || path !== undefined || prefix !== undefined,
    isFolder: path?.endsWith('/') ?? false,
  };
}

interface Split {
  readonly name: string;
  readonly number: number | undefined;
  readonly path: string | undefined;
}

function remote(text: string): Split {
  if (isContainerImage(text)) {
    const [, name = text, path] = CONTAINER.exec(text) ?? [];
    return { name, number: undefined, path };
  }
  const [, name = text, number, path] = REMOTE.exec(text) ?? [];
  return { name, number: number ? Number(number) : undefined, path: path ?? (number === '' ? '/' : undefined) };
}

/** From the whole text to its first part. Without a file, all of it is the name of one. */
async function local(text: string): Promise<Split> {
  for (let end = text.length; end > 0; end = text.lastIndexOf('/', end - 1)) {
    const name = text.slice(0, end);
    const path = end === text.length ? undefined : text.slice(end);
    if (await isImage(name)) return { name, number: undefined, path };
    const [, image, number] = PARTITION.exec(name) ?? [];
    if (image === undefined || !(await isImage(image))) continue;
    return { name: image, number: number ? Number(number) : undefined, path: path ?? (number ? undefined : '/') };
  }
  return { name: text, number: undefined, path: undefined };
}

const isImage = (source: string): Promise<boolean> =>
  stat(pathBelow(source) ?? source).then(
    (found) => found.isFile() || found.isBlockDevice(),
    () => false,
  );

/** A place in an image, whose partition may follow. @throws UsageError if it is not one operand */
export async function oneLocation(name: string, operands: readonly string[]): Promise<Location> {
  const [text, ...more] = operands;
  if (text !== undefined && more.length === 0) return locationOf(text);
  const problem = text === undefined ? 'IMAGE is missing' : `not also ${more.join(' ')}`;
  throw new UsageError(`nodeos ${name} IMAGE: ${problem}`, { hint: `see nodeos ${name} --help` });
}

/** @throws NodeosError for the root, which cannot be replaced or removed */
export function notRoot({ path, text }: Location): void {
  if (path === '/') throw new NodeosError(`${text} is all of the filesystem, and no file in it`);
}
