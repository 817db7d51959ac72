/** nodeos image ls: the files in a filesystem. */
import { visible, visibleJson } from '@nodeos/base';
import { modeOf, type Entry } from '@nodeos/tree';
import type { Command } from '../command.js';
import { jsonLineForEach } from '../json-options.js';
import { sinkOf } from '../output.js';
import { oneLocation } from './location.js';
import { entriesBelow, withFiles } from './open.js';

/** The letters of ls(1). */
const LETTERS: Readonly<Record<Entry['type'], string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  'character-device': 'c',
  'block-device': 'b',
  fifo: 'p',
};

export const lsCommand: Command = {
  name: 'image ls',
  summary: 'Lists the files of a filesystem, with modes, owners, sizes and times.',
  operands: 'IMAGE[:PARTITION][/PATH]',
  options: { json: jsonLineForEach('file') },
  examples: [
    ['nodeos image ls sdcard.img:1', 'the first partition of a disk'],
    ['nodeos image ls root.ext4/etc', 'a folder, with all that is in it'],
    ['nodeos image ls https://example.org/cd.iso:/EFI', 'without fetching all of it'],
    ['nodeos image ls docker://debian:12:/etc', 'a container image'],
  ],
  async run(args, io) {
    const location = await oneLocation('image ls', args.operands);
    const write = sinkOf(io.stdout, io.signal);
    await withFiles(location, io, async (files) => {
      for await (const entry of entriesBelow(files, location.path, io))
        await write(entryLine(entry, args.flag('json')));
    });
    return 0;
  },
};

/** A file, in a line of text or of JSON. */
export const entryLine = (entry: Entry, isJson: boolean): Buffer =>
  Buffer.from(`${isJson ? visibleJson(plain(entry)) : lineOf(entry)}\n`);

/** Values of extended attributes are bytes: in JSON, base64. Where a content is kept is nobody's business. */
const plain = ({ xattrs, ...entry }: Entry): object => ({
  ...entry,
  host: undefined,
  ...(xattrs && {
    xattrs: Object.fromEntries([...xattrs].map(([name, value]) => [name, Buffer.from(value).toString('base64')])),
  }),
});

function lineOf(entry: Entry): string {
  const { path, type, uid, gid, size, mtime, link, rdev, hardLink } = entry;
  const mode = (modeOf(entry) & 0o7777).toString(8).padStart(4, '0');
  const time = new Date(Math.max(-6e10, Math.min(mtime, 8.64e12)) * 1000).toISOString().slice(0, 16).replace('T', ' ');
  const what = rdev ? rdev.join(',') : String(size);
  const target = link === undefined ? '' : ` -> ${link}`;
  const same = hardLink === undefined ? '' : ` = ${hardLink}`;
  return visible(`${LETTERS[type]}${mode} ${uid}:${gid} ${what.padStart(11)} ${time} ${path}${target}${same}`, 9000);
}
