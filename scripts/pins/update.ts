/** pins update: moves pins to the newest version, with checksums of files that were fetched and verified. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, NodeosError, replaceFile } from '@nodeos/base';
import { checksumOf, fetchSource, hashFile, run } from '@nodeos/engine';
import { currentOf } from './check.js';
import { look, type Look, type Report } from './look.js';
import { moved } from './moved.js';
import { chosen, readPins, type Pin } from './pins.js';
import { askedPlace, type Context, type Offer } from './places/index.js';
import { entriesFor, readRecord, writeRecord, type Current } from './record.js';
import { rewrite, type Move } from './rewrite.js';

export interface UpdateOptions {
  readonly root: string;
  readonly names: readonly string[];
  readonly dryRun: boolean;
  readonly json: boolean;
  readonly now: Date;
  readonly write: (text: string) => void;
}

interface Change {
  readonly id: string;
  readonly file: string;
  /** Of the package. */
  readonly from: string;
  readonly to: string;
  /** Of what it has in it. */
  readonly source: string;
  readonly sourceNow: string;
  readonly fixes: readonly string[];
  readonly checksum: string;
}

/** @returns the exit status: 0 if every pin that was named is the newest now, else 1 */
export async function update(options: UpdateOptions, context: Context): Promise<number> {
  const { root, names, dryRun, now } = options;
  const pins = await readPins(root);
  const looks = await looksAtFamilies(pins, chosen(pins, names), root, context);
  const changes: Change[] = [];
  const failures: string[] = [];
  const current = currentOf(looks.map(({ report }) => report));
  for (const { report } of looks) {
    if (report.state === 'unknown' || (report.state === 'by hand' && names.length > 0))
      failures.push(`${report.id}: ${report.problems.join('; ')}`);
  }
  for (const family of familiesOf(looks.filter(({ report }) => report.state === 'behind'))) {
    try {
      changes.push(...(await moveFamily(family, options, context)));
      current.push(...family.map(({ report }) => movedTo(report)));
    } catch (error) {
      if (!(error instanceof NodeosError) || context.signal.aborted) throw error;
      failures.push(
        [messageOf(error), ...error.lines, ...(error.hint === undefined ? [] : [error.hint])].join('\n    '),
      );
    }
  }
  if (!dryRun) await writeRecord(root, pins, entriesFor(current, now));
  report(changes, failures, options);
  if (!options.json) await sayMentions(changes, options, context.signal);
  return failures.length === 0 ? 0 : 1;
}

/** Of the pins that were named, and of those that are moved with them. */
async function looksAtFamilies(
  pins: readonly Pin[],
  named: readonly Pin[],
  root: string,
  context: Context,
): Promise<InFamily[]> {
  const entries = await readRecord(root);
  const files = new Set(named.map(({ file }) => file));
  const all: InFamily[] = [];
  for (const pin of pins.filter(({ file }) => files.has(file))) {
    const one = await look(pin, entries, context);
    all.push({ ...one, family: `${pin.file} ${(await one.offer?.family()) ?? pin.id}` });
  }
  const wanted = new Set(all.filter(({ pin }) => named.includes(pin)).map(({ family }) => family));
  return all.filter(({ family }) => wanted.has(family));
}

interface InFamily extends Look {
  readonly family: string;
}

function familiesOf(looks: readonly InFamily[]): InFamily[][] {
  return [...new Set(looks.map(({ family }) => family))].map((family) => looks.filter((one) => one.family === family));
}

const movedTo = ({ id, pinned, newest = pinned, newestReleased: released }: Report): Current => ({
  id,
  version: newest,
  released,
});

async function moveFamily(family: readonly Look[], options: UpdateOptions, context: Context): Promise<Change[]> {
  const moves: Move[] = [];
  const changes: Change[] = [];
  for (const { pin, offer, report } of family) {
    if (!offer) continue;
    const move = await moveOf(pin, offer, context);
    moves.push(move);
    changes.push(changeOf(move, offer, report.sameFile ? [] : report.fixes));
  }
  const [first] = moves;
  if (!first) return [];
  const path = join(options.root, first.pin.file);
  const before = await readFile(path, 'utf8');
  const after = await rewrite(before, moves, path);
  context.signal.throwIfAborted();
  if (!options.dryRun) await replaceFile(path, (made) => writeFile(made, after));
  return changes;
}

function changeOf({ pin, source }: Move, offer: Offer, fixes: readonly string[]): Change {
  const place = askedPlace(source);
  const { algorithm = '', digest = '' } = place ? checksumOf(place) : {};
  return {
    id: pin.id,
    file: pin.file,
    from: offer.pinned,
    to: offer.newest,
    source: pin.source.version,
    sourceNow: source.version,
    fixes,
    checksum: `${algorithm} ${digest}`,
  };
}

/** Fetches the newest file, into the cache of builds, and makes of it what the pin is to be. */
async function moveOf(pin: Pin, offer: Offer, { cache, signal, say }: Context): Promise<Move> {
  const from = askedPlace(pin.source);
  if (!from) throw new Error(`${pin.id} has an offer and no place`);
  const to = await offer.newestPlace();
  const { maxBytes } = pin.source;
  const wanted = { name: pin.id, version: offer.newest, places: [to], ...(maxBytes === undefined ? {} : { maxBytes }) };
  say(`fetching ${pin.id} ${offer.newest}`);
  const path = await fetchSource(cache, wanted, { signal, progress: () => undefined });
  return { pin, ...moved(pin.source, from, to, await hashFile(path, 'sha1')) };
}

function report(changes: readonly Change[], failures: readonly string[], { json, dryRun, write }: UpdateOptions): void {
  if (json) return write(JSON.stringify({ dryRun, moved: changes, failures }, null, 2) + '\n');
  for (const { id, file, from, to, fixes, checksum } of changes) {
    write(
      `${id}: ${from} -> ${to} in ${file}${fixes.length === 0 ? '' : `; fixes ${fixes.join(', ')}`}\n  ${checksum}\n`,
    );
  }
  for (const failure of failures) write(`not moved: ${failure}\n`);
  const moved = `${changes.length} pins ${dryRun ? 'would be moved' : 'moved'}`;
  write(`${moved}${failures.length === 0 ? '' : `, ${failures.length} could not be`}\n`);
}

/** Tests and documents name versions too. They are for people to change. */
async function sayMentions(
  changes: readonly Change[],
  { root, write }: UpdateOptions,
  signal: AbortSignal,
): Promise<void> {
  const gone = changes.filter(({ source, sourceNow }) => source !== sourceNow).map(({ source }) => source);
  const elsewhere = ['sources.ts', 'package-lock.json', 'record.json'].map((name) => `:!*${name}`);
  for (const version of new Set(gone)) {
    const args = ['grep', '-l', '-F', '-w', '-e', version, '--', ...elsewhere];
    const { stdout } = await run('git', args, { cwd: root, signal }).catch(() => ({ stdout: '' })); // none, or no repository
    const files = stdout.split('\n').filter(Boolean);
    if (files.length > 0) write(`${version} is also named in ${files.join(', ')}\n`);
  }
}
