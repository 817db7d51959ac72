/** The commands of the shell, a row each. Names are relative to its folder; `host:NAME` is a file of this machine. */
import { basename, dirname, posix, resolve } from 'node:path';
import { NodeosError, visible } from '@nodeos/base';
import type { MountedFilesystem } from '@nodeos/linuxfs';
import type { Tree } from '@nodeos/tree';
import type { Io } from '../command.js';
import { sinkOf } from '../output.js';
import { edit } from './edit.js';
import { hostTree, isHostFolder, writeToHost } from './host.js';
import { writeToImage } from './into.js';
import { entryLine } from './ls.js';
import { filesOf } from './open.js';
import { renamed, withoutFolders } from './renamed.js';

export interface Session {
  readonly mounted: MountedFilesystem;
  readonly io: Io;
  /** An absolute path in the image. */
  folder: string;
  isOver?: boolean;
  /** Lets a program have the terminal. */
  withTerminal?: (work: () => Promise<void>) => Promise<void>;
}

interface Verb {
  readonly words: string;
  readonly help: string;
  /** @throws an error whose message is shown */
  run(session: Session, words: readonly string[], signal: AbortSignal): Promise<void> | void;
}

const at = ({ folder }: Session, name: string): string => posix.resolve(folder, name);

/** Flags of a letter, and the other words. */
function flagged(words: readonly string[], letters: string): { flags: Set<string>; names: string[] } {
  const isFlag = (word: string): boolean => new RegExp(`^-[${letters}]+$`).test(word);
  return {
    flags: new Set(words.filter(isFlag).flatMap((word) => word.slice(1).split(''))),
    names: words.filter((word) => !isFlag(word)),
  };
}

function needs(names: readonly string[], least: number, most: number): void {
  if (names.length >= least && names.length <= most) return;
  throw new NodeosError(`${names.length} names, and ${least === most ? least : `at least ${least}`} are wanted`);
}

export const VERBS: Readonly<Record<string, Verb>> = {
  ls: {
    words: '[-l] [NAME]',
    help: 'names in a folder',
    async run(session, words) {
      const { flags, names } = flagged(words, 'l');
      const path = at(session, names[0] ?? '.');
      const isFolder = (await session.mounted.promises.stat(path)).isDirectory();
      for (const name of isFolder ? await namesIn(session.mounted, path) : [posix.basename(path)])
        if (flags.has('l')) await printLong(session, posix.join(isFolder ? path : posix.dirname(path), name), name);
        else print(session, name);
    },
  },
  cd: {
    words: '[NAME]',
    help: 'another folder',
    async run(session, [name = '/']) {
      const path = at(session, name);
      if (!(await session.mounted.promises.stat(path)).isDirectory()) throw new NodeosError(`${path} is no folder`);
      session.folder = path;
    },
  },
  pwd: { words: '', help: 'the folder', run: (session) => print(session, session.folder) },
  cat: {
    words: 'NAME…',
    help: 'what is in files',
    async run(session, names, signal) {
      const write = sinkOf(session.io.stdout, signal); // a terminal may take it slowly
      for (const name of names)
        for await (const bytes of session.mounted.createReadStream(at(session, name))) {
          signal.throwIfAborted();
          await write(bytes as Buffer);
        }
    },
  },
  stat: {
    words: 'NAME…',
    help: 'owner, mode, size and times',
    async run(session, names) {
      for (const name of names) {
        const found = await session.mounted.promises.lstat(at(session, name));
        const { ino, nlink, uid, gid, size, atime, mtime, ctime } = found;
        const mode = (found.mode & 0o7777).toString(8);
        print(session, `${name}: mode ${mode}, owner ${uid}:${gid}, ${size} bytes, inode ${ino}, ${nlink} names`);
        print(session, `  read ${atime.toISOString()}, written ${mtime.toISOString()}, changed ${ctime.toISOString()}`);
      }
    },
  },
  mkdir: {
    words: '[-p] NAME…',
    help: 'folders',
    async run(session, words) {
      const { flags, names } = flagged(words, 'p');
      needs(names, 1, Infinity);
      for (const name of names) await session.mounted.promises.mkdir(at(session, name), { recursive: flags.has('p') });
    },
  },
  rm: {
    words: '[-rf] NAME…',
    help: 'removes',
    async run(session, words) {
      const { flags, names } = flagged(words, 'rf');
      needs(names, 1, Infinity);
      const options = { recursive: flags.has('r'), force: flags.has('f') };
      for (const name of names) await session.mounted.promises.rm(at(session, name), options);
    },
  },
  mv: {
    words: 'FROM TO',
    help: 'another name',
    async run(session, names) {
      needs(names, 2, 2);
      const [from = '', to = ''] = names;
      await session.mounted.promises.rename(at(session, from), await within(session, to, posix.basename(from)));
    },
  },
  cp: {
    words: '[-r] FROM TO',
    help: 'copies; host:NAME is a file of this machine',
    run: copy,
  },
  edit: {
    words: 'NAME',
    help: 'in $EDITOR',
    async run(session, names) {
      needs(names, 1, 1);
      const work = (): Promise<void> => edit(session.mounted, at(session, names[0] ?? ''), session.io);
      await (session.withTerminal ? session.withTerminal(work) : work());
    },
  },
  sync: { words: '', help: 'makes everything durable', run: (session) => session.mounted.sync() },
  help: {
    words: '',
    help: 'this',
    run(session) {
      for (const [name, { words, help }] of Object.entries(VERBS))
        print(session, `${`${name} ${words}`.padEnd(20)} ${help}`);
    },
  },
  exit: { words: '', help: 'leaves, as Ctrl-D does', run: (session) => void (session.isOver = true) },
};

const print = ({ io }: Session, text: string): void => void io.stdout.write(`${visible(text, 4096)}\n`);

/** The names in a folder, in their order, with `/` behind those of folders. */
export async function namesIn({ promises }: MountedFilesystem, path: string): Promise<string[]> {
  const found = await promises.readdir(path, { withFileTypes: true });
  return found.map((entry) => entry.name + (entry.isDirectory() ? '/' : '')).sort();
}

/** The line of `nodeos image ls`. */
async function printLong({ mounted, io }: Session, path: string, name: string): Promise<void> {
  for await (const entry of filesOf(mounted).entries(path.replace(/^\/|\/$/g, ''))) {
    io.stdout.write(entryLine({ ...entry, path: name }, false));
    return; // not what is in it
  }
}

/** Where something of a name goes: into a folder that is there, or to a name of its own. */
async function within(session: Session, to: string, name: string): Promise<string> {
  const path = at(session, to);
  const found = await session.mounted.promises.stat(path).catch(() => undefined);
  return found?.isDirectory() ? posix.join(path, name) : path;
}

const HOST = /^host:(.+)$/s;

async function copy(session: Session, words: readonly string[], signal: AbortSignal): Promise<void> {
  const { flags, names } = flagged(words, 'r');
  needs(names, 2, 2);
  const [from = '', to = ''] = names;
  const [, hostFrom] = HOST.exec(from) ?? [];
  const [, hostTo] = HOST.exec(to) ?? [];
  const name = hostFrom === undefined ? posix.basename(at(session, from)) : basename(resolve(hostFrom));
  const treeAs = (as: string): Tree => {
    if (hostFrom !== undefined) return hostTree(hostFrom, as);
    return renamed(filesOf(session.mounted), at(session, from), as, { signal });
  };
  const checked = (tree: Tree): Tree =>
    flags.has('r') ? tree : withoutFolders(tree, () => new NodeosError(`${from} is a folder: cp -r`));
  const printAll = (notes: readonly string[]): void => notes.forEach((note) => print(session, note));
  if (hostTo !== undefined) {
    const path = resolve((await isHostFolder(hostTo)) ? `${hostTo}/${name}` : hostTo);
    return printAll(await writeToHost(checked(treeAs(basename(path))), dirname(path), { signal }));
  }
  const path = await within(session, to, name);
  if (hostFrom === undefined && `${path}/`.startsWith(`${at(session, from)}/`))
    throw new NodeosError(`${from} cannot be copied into itself`);
  const tree = checked(treeAs(posix.basename(path)));
  printAll(await writeToImage(session.mounted, tree, { path: posix.dirname(path), signal }));
}
