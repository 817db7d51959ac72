/** nodeos image info: partitions and filesystems. */
import { slice, type BlockBackend } from '@nodeos/block';
import { codeOf, formatSize, visible } from '@nodeos/base';
import { readImage } from '@nodeos/fs';
import { probe } from '@nodeos/linuxfs';
import type { Command, Io, Parsed } from '../command.js';
import { JSON_OBJECT } from '../json-options.js';
import { unpacked } from '../compressed.js';
import { operandsOf } from '../nbd/options.js';
import { unlessStopped } from '../nbd/stop.js';
import { openWithProgress } from '../opened.js';
import { partitionsOf } from './open.js';

export const infoCommand: Command = {
  name: 'image info',
  summary: 'Says what is in an image: partitions, and the filesystem of each.',
  operands: 'SOURCE',
  options: { json: JSON_OBJECT },
  examples: [
    ['nodeos image info nodeos.img', 'a disk; also nodeos.img.zst, nodeos.img.xz'],
    ['nodeos image info https://example.org/cd.iso', 'without fetching all of it'],
  ],
  async run(args, io) {
    const [source = ''] = operandsOf('image info', args, 'SOURCE');
    const device = await openWithProgress(unpacked(source), { cached: true }, io);
    try {
      print(await unlessStopped(describe(device), io), args, io);
      return 0;
    } finally {
      await device.close();
    }
  },
};

interface Filesystem {
  readonly format: string;
  readonly label: string;
}

interface Description {
  readonly size: number;
  readonly filesystem?: Filesystem;
  readonly partitions: readonly {
    readonly number: number;
    readonly name?: string;
    readonly offset: number;
    readonly length: number;
    readonly type: string;
    readonly filesystem?: Filesystem;
  }[];
}

async function describe(device: BlockBackend): Promise<Description> {
  const partitions: Description['partitions'][number][] = [];
  for (const partition of await partitionsOf(device)) {
    const { offset, length } = partition;
    const isInside = length > 0 && offset + length <= device.size;
    partitions.push({ ...partition, ...(isInside ? await filesystemOf(slice(device, offset, length)) : {}) });
  }
  return { size: device.size, ...(await filesystemOf(device)), partitions };
}

async function filesystemOf(device: BlockBackend): Promise<{ filesystem?: Filesystem }> {
  try {
    const { format, label } = await readImage(device);
    return { filesystem: { format, label } };
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
    const found = await probe(device);
    return found ? { filesystem: { format: found.type, label: found.label ?? '' } } : {};
  }
}

function print(found: Description, args: Parsed, io: Io): void {
  if (args.flag('json')) return void io.stdout.write(`${JSON.stringify(found)}\n`);
  const nameOf = (filesystem?: Filesystem): string =>
    filesystem ? [filesystem.format, filesystem.label].filter(Boolean).join(' ') : 'unknown contents';
  const lines = [
    `${formatSize(found.size)}: ${found.partitions.length > 0 && !found.filesystem ? 'a disk' : nameOf(found.filesystem)}`,
  ];
  for (const { number, name = '', offset, length, filesystem } of found.partitions)
    lines.push(`  partition ${number} ${name}: ${formatSize(length)} at ${offset}, ${nameOf(filesystem)}`);
  for (const line of lines) io.stdout.write(`${visible(line, 1000)}\n`);
}
