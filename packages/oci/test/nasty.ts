/** Layers that are as bad as layers get, and which tools make the same tree of them. */
import type { Member } from './images.js';

const T = 1_000_000_000;

export interface Nasty {
  readonly name: string;
  readonly layers: readonly (readonly Member[])[];
  /** Tools that make another tree of it, or refuse it, and what they do. Others must agree. */
  readonly differs?: Readonly<Record<string, string>>;
  /** What we say, if we refuse it. Tools that do not must be in `differs`. */
  readonly refused?: RegExp;
}

const folder = (path: string, more: Partial<Member> = {}): Member => ({ path: `${path}/`, mtime: T, ...more });
const file = (path: string, content: string, more: Partial<Member> = {}): Member => ({
  path,
  content,
  mtime: T,
  ...more,
});
const symlink = (path: string, link: string): Member => ({ path, kind: '2', link, mtime: T });
const hardLink = (path: string, link: string, more: Partial<Member> = {}): Member => ({
  path,
  kind: '1',
  link,
  mtime: T,
  ...more,
});
const whiteout = (path: string): Member => ({ path });

const REAL_AND_LINK = [folder('real'), file('real/x', 'x'), symlink('link', 'real')];

export const NASTY: readonly Nasty[] = [
  {
    name: 'a whiteout of one name of a file with two',
    layers: [
      [folder('etc'), file('etc/passwd', 'x', { uid: 5 }), hardLink('etc/hard', 'etc/passwd', { uid: 5 })],
      [whiteout('etc/.wh.passwd')],
    ],
  },
  { name: 'folders that no layer describes', layers: [[file('var/lib/new', 'y')]] },
  {
    name: 'an opaque folder, said before its contents',
    layers: [
      [folder('d', { mode: 0o700 }), file('d/x', 'x')],
      [whiteout('d/.wh..wh..opq'), file('d/y', 'y')],
    ],
  },
  {
    name: 'an opaque folder, said after its contents',
    layers: [
      [folder('d'), file('d/old', 'o'), folder('d/sub'), file('d/sub/old', 'o')],
      [folder('d/sub'), file('d/sub/new', 'n'), file('d/new', 'n'), whiteout('d/.wh..wh..opq')],
    ],
  },
  {
    name: 'an opaque folder, said after a folder in it that the layer does not describe',
    layers: [
      [folder('d'), folder('d/sub', { mode: 0o700 })],
      [file('d/sub/new', 'n'), whiteout('d/.wh..wh..opq')],
    ],
    differs: { umoci: 'd/sub keeps the mode of the hidden folder', buildah: 'removes the new file too' },
  },
  {
    name: 'a hard link into a lower layer, whose other name goes and comes again',
    layers: [[file('a', 'a')], [hardLink('b', 'a')], [whiteout('.wh.a')], [file('a', 'new')]],
  },
  {
    name: 'a file that becomes a folder and back',
    layers: [
      [file('a', 'a'), folder('b'), file('b/c', 'c')],
      [folder('a'), file('a/x', 'x'), file('b', 'b')],
      [file('a', 'again'), folder('b')],
    ],
  },
  {
    name: 'parents that are links',
    layers: [
      [folder('real'), symlink('link', 'real'), symlink('abs', '/real')],
      [file('link/a', 'a'), file('abs/b', 'b')],
    ],
  },
  {
    name: 'a parent that is a link out of the tree',
    layers: [[folder('etc'), symlink('out', '../../../../etc')], [file('out/c', 'c')]],
  },
  {
    name: 'a parent that is a link to nothing',
    layers: [[symlink('link', 'nowhere/deep')], [file('link/a', 'a')]],
    differs: { buildah: 'refuses it' },
  },
  {
    name: 'a file where a folder is needed',
    layers: [[file('a', 'a')], [file('a/b', 'b')]],
    differs: { umoci: 'refuses it', buildah: 'refuses it' },
  },
  {
    name: 'a folder in the place of a link',
    layers: [REAL_AND_LINK, [folder('link'), file('link/y', 'y')]],
  },
  {
    name: 'paths that a layer has twice',
    layers: [
      [
        file('a', '1'),
        file('a', '2'),
        folder('d'),
        file('d/x', 'x'),
        folder('d', { mode: 0o700, mtime: T + 1 }),
        folder('e'),
        file('e/f', 'x'),
        file('e', 'file'),
      ],
    ],
    differs: { buildah: 'refuses it' },
  },
  { name: 'large owners', layers: [[file('a', '1', { uid: 3_000_000, gid: 4_294_967_290 })]] },
  {
    name: 'a whiteout of a file of the same layer',
    layers: [[file('a', 'low')], [file('a', 'up'), whiteout('.wh.a')]],
    differs: { buildah: 'removes the new file too' },
  },
  {
    name: 'a whiteout of a folder that the layer has something in',
    layers: [
      [folder('d', { mode: 0o700, uid: 7 }), file('d/old', 'low')],
      [file('d/new', 'up'), whiteout('.wh.d')],
    ],
    differs: { umoci: 'd keeps the mode and owner of the hidden folder', buildah: 'removes the new file too' },
  },
  { name: 'paths that lead out', layers: [[file('a/../../b', '1'), file('/c', '1')]] },
  { name: 'times before 1970', layers: [[file('a', '1', { mtime: -5 })]], differs: { buildah: 'makes it 0' } },
  {
    name: 'a hard link with another mode',
    layers: [[file('a', '1', { mode: 0o600 }), hardLink('b', 'a', { mode: 0o777, uid: 9 })]],
    differs: { buildah: 'changes the file' },
  },
  {
    name: 'a hard link to a symbolic link',
    layers: [[symlink('s', 'x'), hardLink('h', 's')]],
    differs: { buildah: 'makes two links' },
  },
  {
    name: 'a hard link to nothing',
    layers: [[hardLink('h', 'none')]],
    refused: /"h" is a hard link to "none", which is not there/,
  },
  { name: 'a hard link to itself', layers: [[file('h', 'x'), hardLink('h', 'h')]], refused: /which is not there/ },
  { name: 'a hard link to a folder', layers: [[folder('d'), hardLink('h', 'd')]], refused: /which is a folder/ },
  {
    name: 'a whiteout of ..',
    layers: [[folder('d'), file('d/x', 'x')], [whiteout('d/.wh...')]],
    refused: /a whiteout of no name/,
  },
  {
    name: 'a whiteout of .',
    layers: [[folder('d'), file('d/x', 'x')], [whiteout('d/.wh..')]],
    refused: /a whiteout of no name/,
    differs: { buildah: 'removes the folder' },
  },
  {
    name: 'files of AUFS',
    layers: [[folder('.wh..wh.plnk'), file('.wh..wh.plnk/1.2', 'x'), file('.wh..wh.aufs', ''), file('a', 'x')]],
    differs: { umoci: 'keeps some of them', buildah: 'keeps the folder' },
  },
  {
    name: 'a file below a whiteout',
    layers: [[file('.wh.d/x', 'x')]],
    refused: /is below a whiteout/,
    differs: { umoci: 'makes a folder of that name', buildah: 'makes a folder of that name' },
  },
  {
    name: 'whiteouts of what is not there',
    layers: [[file('a', 'a')], [whiteout('.wh.none'), whiteout('new/.wh.x')]],
    differs: { buildah: 'makes the folder new' },
  },
  { name: 'a whiteout behind a link', layers: [REAL_AND_LINK, [whiteout('link/.wh.x')]] },
  {
    name: 'an opaque folder behind a link',
    layers: [REAL_AND_LINK, [whiteout('link/.wh..wh..opq')]],
    differs: { buildah: 'does nothing' },
  },
  { name: 'links in a circle', layers: [[symlink('l', 'l'), file('l/x', 'x')]], refused: /more than 255 links/ },
  {
    name: 'set-id bits, devices and pipes',
    layers: [
      [
        file('a', 'x', { mode: 0o4755, uid: 3 }),
        folder('d', { mode: 0o2775, gid: 9 }),
        file('d/f', 'x'),
        { path: 'c', kind: '3', rdev: [1, 3], mtime: T },
        { path: 'b', kind: '4', rdev: [8, 1], mtime: T },
        { path: 'p', kind: '6', mtime: T },
      ],
    ],
  },
  { name: 'a whiteout that is a folder', layers: [[folder('d'), file('d/x', 'x')], [folder('.wh.d')]] },
  {
    name: 'a file in the place of a folder of the same layer',
    layers: [
      [folder('d'), file('d/low', 'l')],
      [file('d/up', 'u'), file('d', 'file')],
    ],
  },
];
