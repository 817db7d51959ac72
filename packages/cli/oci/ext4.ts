/**
 * ext4, by mke2fs and debugfs of e2fsprogs, without root. `mke2fs -d FOLDER` takes owners from files, which only root can
 * set, and their order from the folder; it reads tar archives only from version 1.47.1 on. So it makes an empty filesystem,
 * and debugfs gets a list of commands: the same tree gives the same bytes.
 * https://man7.org/linux/man-pages/man8/debugfs.8.html
 */
import { mkdir, open, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { NodeosError, sha256 } from '@nodeos/base';
import { run } from '@nodeos/engine';
import { modeOf, pathBytes, type Entry } from '@nodeos/tree';

const BLOCK = 4096;
/** FAT's epoch, as in boot media: 1980-01-01, in seconds since 1970, and in the words of debugfs. */
const [EPOCH, EPOCH_TEXT] = ['315532800', '19800101000000'];
/** Bytes. */
const JOURNAL = 16 << 20;
const INODE = 256;
/** Inodes that ext4 has for itself, and some to spare. */
const MORE_INODES = 1024;
/** Free space: a quarter of what is in it, and this much in any case. */
const SPARE = 16 << 20;
/** A name, a target and a path are on one line. */
const UNUSABLE = /[\n\0]/;
const LAST_TIME = 2 ** 34 - 2 ** 31;

const FEATURES =
  'has_journal,ext_attr,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize,filetype,resize_inode';

/** What the filesystem needs, as it is found out by going through the tree. */
interface Plan {
  /** Commands of debugfs. */
  readonly lines: Buffer[];
  inodes: number;
  /** Bytes. */
  size: number;
  /** Numbers of names by the path of the first one. */
  readonly links: Map<string, number>;
}

/**
 * @param path in a folder of its own, where contents are put while it is made
 * @throws NodeosError for a name with a line break, a time beyond 2446, or if a tool fails or is not installed
 */
export async function writeExt4(tree: () => Iterable<Entry>, path: string, signal: AbortSignal): Promise<void> {
  const work = dirname(path);
  await mkdir(join(work, 'contents'));
  const plan = await planOf(tree(), work, signal);
  const script = Buffer.concat(plan.lines);
  await writeFile(join(work, 'commands'), script);
  await writeFile(join(work, 'mke2fs.conf'), '[defaults]\n');
  await writeFile(path, '');
  await truncate(path, sizeOf(plan));
  const id = uuidOf(script);
  const env = { MKE2FS_CONFIG: join(work, 'mke2fs.conf'), E2FSPROGS_FAKE_TIME: EPOCH };
  const options = [
    ...['-q', '-F', '-t', 'ext4', '-b', String(BLOCK), '-I', String(INODE), '-m', '0', '-U', id, '-O', FEATURES],
    ...['-N', String(plan.inodes + MORE_INODES), '-J', `size=${JOURNAL >> 20}`],
    ...['-E', `hash_seed=${id},lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0`],
  ];
  await run('mke2fs', [...options, path], { env, path: SBIN, signal });
  const problems: string[] = [];
  const onLine = (line: string): void => {
    if (!EXPECTED.test(line)) problems.push(line);
  };
  await run('debugfs', ['-w', '-f', 'commands', path], { cwd: work, env, path: SBIN, signal, onLine });
  // It goes on after an error, and its status is 0.
  if (problems.length > 0)
    throw new NodeosError('debugfs could not put everything into the filesystem', { lines: problems.slice(0, 10) });
}

const SBIN = ['/usr/sbin', '/sbin'];
/** What debugfs prints when all is well: the commands, and numbers of inodes. */
const EXPECTED = /^(?:debugfs[: ]|Allocated inode: \d+|Setting current time to |$)/;

const sizeOf = ({ inodes, size }: Plan): number => {
  const needed = size + (inodes + MORE_INODES) * INODE + JOURNAL;
  return Math.ceil((needed + needed / 4 + SPARE) / (1 << 20)) * (1 << 20);
};

function uuidOf(script: Buffer): string {
  const hex = sha256(script);
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}

async function planOf(tree: Iterable<Entry>, work: string, signal: AbortSignal): Promise<Plan> {
  const plan: Plan = { lines: [], inodes: 0, size: 0, links: new Map() };
  const say = (...words: readonly (string | Buffer)[]): void =>
    void plan.lines.push(Buffer.concat([...words.flatMap((word) => [Buffer.from(word as string), SPACE]), LINE_END]));
  say('set_current_time', EPOCH_TEXT);
  let folder: string | undefined;
  for (const entry of tree) {
    signal.throwIfAborted();
    for (const text of [entry.path, entry.link ?? ''])
      if (UNUSABLE.test(text))
        throw new NodeosError(`${JSON.stringify(text)} has a line break, which debugfs cannot take`);
    const slash = entry.path.lastIndexOf('/');
    const parent = entry.path.slice(0, Math.max(0, slash));
    if (parent !== folder) say('cd', quoted(`/${parent}`));
    folder = parent;
    const name = entry.path.slice(slash + 1);
    plan.size += 2 * (name.length + 12) + (entry.type === 'directory' ? BLOCK : 0);
    if (entry.hardLink !== undefined) {
      plan.links.set(entry.hardLink, (plan.links.get(entry.hardLink) ?? 1) + 1);
      // `ln` does not enlarge a folder that is full. `symlink` does, and `rm` leaves the place.
      say('symlink', quoted(name), 'x');
      say('rm', quoted(`./${name}`));
      say('ln', quoted(`/${entry.hardLink}`), quoted(name));
      continue;
    }
    const number = plan.inodes++;
    await create(entry, name, { work, number, plan, say });
    describe(entry, entry.path === '' ? '/' : `./${name}`, say);
    for (const [key, value] of entry.xattrs ?? []) {
      const file = `contents/${number}-${sha256(key).slice(0, 16)}`;
      await writeFile(join(work, file), value);
      plan.size += BLOCK;
      say('ea_set', '-f', file, quoted(`./${name}`), quoted(key));
    }
  }
  for (const [path, count] of plan.links) say('sif', quoted(`/${path}`), 'links_count', String(count));
  return plan;
}

type Say = (...words: readonly (string | Buffer)[]) => void;

interface Context {
  readonly work: string;
  readonly number: number;
  readonly plan: Plan;
  readonly say: Say;
}

/** Commands that make a file of each type, before it gets its attributes. */
async function create(entry: Entry, name: string, { work, number, plan, say }: Context): Promise<void> {
  const { type, rdev = [0, 0], link = '', path } = entry;
  const [major, minor] = rdev.map(String);
  // mke2fs makes that folder itself.
  if (path === '' || (path === 'lost+found' && type === 'directory')) return;
  if (type === 'directory') say('mkdir', quoted(name));
  else if (type === 'symlink') say('symlink', quoted(name), quoted(link));
  else if (type === 'fifo') say('mknod', quoted(name), 'p');
  else if (type !== 'file') say('mknod', quoted(name), type === 'block-device' ? 'b' : 'c', major ?? '0', minor ?? '0');
  else {
    const content = `contents/${number}`;
    await writeContent(entry, join(work, content));
    plan.size += Math.ceil(entry.size / BLOCK) * BLOCK;
    say('write', content, quoted(name));
  }
}

async function writeContent(entry: Entry, path: string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    let written = 0;
    for await (const bytes of entry.open?.() ?? []) {
      await file.writeFile(bytes);
      written += bytes.length;
    }
    if (written !== entry.size) throw new RangeError(`${entry.path}: ${written} bytes instead of ${entry.size}`);
  } finally {
    await file.close();
  }
}

/** Sets what an inode says. */
function describe(entry: Entry, place: string, say: Say): void {
  const { uid, gid, mtime, nanoseconds = 0, path } = entry;
  if (mtime < -(2 ** 31) || mtime >= LAST_TIME)
    throw new NodeosError(`${path}: ext4 has no time ${mtime} (seconds since 1970)`);
  const set = (field: string, value: string): void => say('sif', quoted(place), field, value);
  set('mode', `0${modeOf(entry).toString(8)}`);
  set('uid', String(uid));
  set('gid', String(gid));
  // Two more bits of the seconds, then the nanoseconds.
  const extra = nanoseconds * 4 + ((Math.floor((mtime + 2 ** 31) / 2 ** 32) & 3) >>> 0);
  for (const time of ['atime', 'ctime', 'mtime', 'crtime']) {
    set(time, `@${mtime}`);
    if (extra !== 0) set(`${time}_extra`, String(extra));
  }
}

const [SPACE, LINE_END] = [Buffer.from(' '), Buffer.from('\n')];

/** As debugfs reads a word: in quotes, which are doubled within. */
const quoted = (text: string): Buffer => Buffer.concat([QUOTE, pathBytes(text.replaceAll('"', '""')), QUOTE]);
const QUOTE = Buffer.from('"');
