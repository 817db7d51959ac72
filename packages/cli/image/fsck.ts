/** nodeos image fsck: whether a filesystem is sound. */
import { NodeosError, UsageError, visible } from '@nodeos/base';
import { run } from '@nodeos/engine';
import { open, probe } from '@nodeos/linuxfs';
import { file } from '@nodeos/block';
import { printMessage, type Command, type Io } from '../command.js';
import { jsonObjectOf } from '../json-options.js';
import { checkProgram, withInstalled } from '../missing-tools.js';
import { withFile } from './file.js';
import { kernelPath } from './kernel.js';
import { oneLocation } from './location.js';
import { PROGRAMS } from './programs.js';

export const fsckCommand: Command = {
  name: 'image fsck',
  summary:
    'Checks a filesystem by its own program, and changes nothing unless --repair is given. Status 1: it is damaged.',
  operands: 'IMAGE[:PARTITION]',
  options: {
    repair: { type: 'boolean', help: 'mend what is wrong' },
    json: jsonObjectOf('the type, the program, what it said, and whether it is sound'),
  },
  examples: [
    ['nodeos image fsck root.ext4', 'a file'],
    ['nodeos image fsck sdcard.img:1 --repair', 'a partition'],
  ],
  async run(args, io) {
    const location = await oneLocation('image fsck', args.operands);
    if (location.path !== '/') throw new UsageError(`${location.text}: a filesystem is checked as a whole`);
    const isRepair = args.flag('repair');
    const { text } = location;
    const found = await withFile(location, io, isRepair, (path) => check(path, text, isRepair, io));
    if (args.flag('json')) io.stdout.write(`${JSON.stringify({ image: text, ...found })}\n`);
    else {
      for (const line of found.said) io.stdout.write(`${visible(line, 1000)}\n`);
      printMessage(io, `${text}: ${found.type}, ${found.isSound ? 'sound' : 'damaged'}, says ${found.program}`);
    }
    return found.isSound ? 0 : 1;
  },
};

interface Found {
  readonly type: string;
  readonly program: string;
  readonly isSound: boolean;
  readonly said: readonly string[];
}

async function check(path: string, text: string, isRepair: boolean, io: Io): Promise<Found> {
  const type = await typeIn(path, text);
  const { check: checking, repair, noRepair } = PROGRAMS[type] ?? {};
  if (isRepair && !repair) throw new NodeosError(`${text}: nothing repairs ${type}: ${noRepair}`);
  const way = isRepair ? repair : checking;
  if (!way) throw new NodeosError(`${text}: no program checks ${type}`);
  if (isRepair) await replayJournal(path, io);
  const [program, ...args] = way.line;
  await withInstalled(io, () => checkProgram(program));
  const said: string[] = [];
  const statuses = [...way.good, ...way.bad];
  const { status } = await run(program, [...args, path], {
    signal: io.signal,
    statuses,
    onLine: (line) => said.push(line),
  });
  return { type, program, isSound: way.good.includes(status), said };
}

/** @throws NodeosError if no filesystem is there that is known */
export async function typeIn(path: string, text: string): Promise<string> {
  const device = await file(path, { readOnly: true });
  const found = await probe(device).finally(() => device.close());
  if (found) return found.type;
  throw new NodeosError(`${text}: there is no filesystem here that is known`, {
    hint: `nodeos image info ${text} says what is there`,
  });
}

/** Programs that repair may throw away what a driver would replay. A filesystem that cannot be mounted is their task. */
async function replayJournal(path: string, io: Io): Promise<void> {
  const device = await file(path);
  const disk = await open(device, { kernel: await kernelPath(io) });
  try {
    await disk.mount().catch(() => undefined);
  } finally {
    await disk.close();
  }
}
