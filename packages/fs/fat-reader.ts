/**
 * Reads FAT12, FAT16 and FAT32 volumes that are not trusted. Contents are read when entries are opened, in pieces of at
 * most 1 MiB; of the FAT at most 768 KiB are kept.
 *
 * A name is the long one if it is intact. Otherwise it is the short one, in code page 437 and with Windows NT's flags for
 * lower case. Modes are 0644, 0444 for a read-only file, and 0755 for a folder. Times are taken for UTC.
 *
 * No two files share a cluster: the sizes of all files together are at most the size of the volume. This is also what
 * keeps a small image from becoming many large files.
 */
import { parsing, type BlockBackend } from '@nodeos/block';
import type { Entry, Tree } from '@nodeos/tree';
import { MAX_DEPTH, MAX_SLOTS, SLOT } from './fat-layout.js';
import { problemOf } from './fat-names.js';
import { ATTRIBUTES, decodeText, SlotDecoder, type DecodedSlot } from './fat-slots.js';
import { fileBytes, folderBytes, hasCluster, volumeOf, type Volume } from './fat-volume.js';
import type { ImageReader } from './image.js';

const MAX_ENTRIES = 1 << 20;
const NO_LABEL = 'NO NAME';
const DOTS = new Set(['.', '..'].map((name) => name.padEnd(11)));

/** @throws Error with the code EINVAL if it is no FAT volume, or its root folder is damaged */
export async function readFat(device: BlockBackend): Promise<ImageReader> {
  const volume = await volumeOf(parsing(device, 'fat'));
  return { format: `fat${volume.bits}`, label: await labelOf(volume), entries: () => entriesOf(volume) };
}

/** The label in the root folder counts: systems change only that one. */
async function labelOf(volume: Volume): Promise<string> {
  let label = volume.label;
  for await (const { attributes, raw } of rootSlots(volume, new Set()))
    if ((attributes & ATTRIBUTES.label) !== 0) {
      label = raw;
      break;
    }
  const text = decodeText(label)
    .replace(/\p{Cc}/gu, ' ')
    .trimEnd();
  return text === NO_LABEL ? '' : text;
}

interface Folder {
  readonly path: string;
  readonly slots: AsyncGenerator<DecodedSlot>;
  readonly names: Set<string>;
}

async function* entriesOf(volume: Volume): Tree {
  const { input, clusters, clusterSize } = volume;
  const seen = new Set<number>();
  const stack: Folder[] = [{ path: '', slots: rootSlots(volume, seen), names: new Set() }];
  let [count, fileClusters] = [0, 0];
  for (let folder = stack.at(-1); folder !== undefined; folder = stack.at(-1)) {
    const next = await folder.slots.next();
    if (next.done) stack.pop();
    if (next.done || !isFile(next.value)) continue;
    const slot = next.value;
    const entry = entryOf(volume, slot, folder);
    if (++count > MAX_ENTRIES) throw input.formatError(`more than ${MAX_ENTRIES} files`);
    fileClusters += Math.ceil(entry.size / clusterSize);
    if (fileClusters + seen.size > clusters)
      throw input.formatError(
        `${JSON.stringify(entry.path)}: the files do not fit into the volume, so some share clusters`,
      );
    yield entry;
    if (entry.type !== 'directory') continue;
    if (stack.length > MAX_DEPTH) throw input.formatError(`more than ${MAX_DEPTH} folders within each other`);
    const slots = slotsOf(volume, folderBytes(volume, slot.cluster, seen), entry.path);
    stack.push({ path: entry.path, slots, names: new Set() });
  }
}

const isFile = ({ attributes, raw }: DecodedSlot): boolean =>
  (attributes & ATTRIBUTES.label) === 0 && !DOTS.has(raw.toString('latin1'));

/** @throws Error with the code EINVAL for a name that is unsafe or was there before, and for a file without content */
function entryOf(volume: Volume, { name, attributes, mtime, cluster, size }: DecodedSlot, folder: Folder): Entry {
  const { input } = volume;
  const path = folder.path === '' ? name : `${folder.path}/${name}`;
  const problem = folder.names.has(name) ? 'is there twice' : problemOf(name);
  if (problem !== undefined)
    throw input.formatError(`${JSON.stringify(path)}: the name ${JSON.stringify(name)} ${problem}`);
  folder.names.add(name);
  const common = { path, uid: 0, gid: 0, mtime };
  if ((attributes & ATTRIBUTES.directory) !== 0) return { ...common, type: 'directory', mode: 0o755, size: 0 };
  if (size > 0 && !hasCluster(volume, cluster))
    throw input.formatError(`${JSON.stringify(path)} starts in cluster ${cluster}, which does not exist`);
  return {
    ...common,
    type: 'file',
    mode: (attributes & ATTRIBUTES.readOnly) === 0 ? 0o644 : 0o444,
    size,
    open: (offset = 0) => fileBytes(volume, cluster, size, path, offset),
  };
}

function rootSlots(volume: Volume, seen: Set<number>): AsyncGenerator<DecodedSlot> {
  const { input, bits, rootAt, rootLength, rootCluster } = volume;
  const fixed = async function* (): AsyncGenerator<Buffer> {
    yield await input.bytes(rootAt, rootLength, 'the root folder');
  };
  return slotsOf(volume, bits === 32 ? folderBytes(volume, rootCluster, seen) : fixed(), '');
}

/** The slots in use. */
async function* slotsOf(
  { input, bits }: Volume,
  parts: AsyncIterable<Buffer>,
  path: string,
): AsyncGenerator<DecodedSlot> {
  const decoder = new SlotDecoder(bits);
  let slots = 0;
  for await (const bytes of parts) {
    if (slots >= MAX_SLOTS) throw input.formatError(`${JSON.stringify(path)} has more than ${MAX_SLOTS} entries`);
    slots += bytes.length / SLOT;
    yield* decoder.decode(bytes);
    if (decoder.ended) return;
  }
}
