/** pins update: moves pins to the newest version. It fetches and verifies each file first. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, NodeosError, replaceFile } from '@nodeos/base';
import { checksumOf, fetchSource, hashFile, run } from '@nodeos/engine';
import { currentOf } from './check.js';
import { inspect, type Inspection, type Report } from './inspect.js';
import { moveSource } from './moved.js';
import { selectPins, readPins, type Pin } from './pins.js';
import { packagePlaceOf, type Context, type Offer } from './places/index.js';
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
  /** The old version of the package. */
  readonly from: string;
  /** The new version of the package. */
  readonly to: string;
  /** The old version of the source in the package. */
  readonly source: string;
  /** The new version of the source in the package. */
  readonly sourceNow: string;
  readonly fixes: readonly string[];
  readonly checksum: string;
}

/** @returns the exit status: 0 if every named pin is now the newest, otherwise 1 */
export async function update(options: UpdateOptions, context: Context): Promise<number> {
  const { root, names, dryRun, now } = options;
  const pins = await readPins(root);
  const inspections = await inspectFamilies(pins, selectPins(pins, names), root, context);
  const changes: Change[] = [];
  const failures: string[] = [];
  const current = currentOf(inspections.map(({ report }) => report));
  for (const { report } of inspections) {
    if (report.state === 'unknown' || (report.state === 'by hand' && names.length > 0))
      failures.push(`${report.id}: ${report.problems.join('; ')}`);
  }
  for (const family of familiesOf(inspections.filter(({ report }) => report.state === 'behind'))) {
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
  if (!options.json) await reportMentions(changes, options, context.signal);
  return failures.length === 0 ? 0 : 1;
}

/** Inspects the named pins, and those that are moved together with them. */
async function inspectFamilies(
  pins: readonly Pin[],
  named: readonly Pin[],
  root: string,
  context: Context,
): Promise<InFamily[]> {
  const entries = await readRecord(root);
  const files = new Set(named.map(({ file }) => file));
  const all: InFamily[] = [];
  for (const pin of pins.filter(({ file }) => files.has(file))) {
    const inspection = await inspect(pin, entries, context);
    all.push({ ...inspection, family: `${pin.file} ${(await inspection.offer?.family()) ?? pin.id}` });
  }
  const wanted = new Set(all.filter(({ pin }) => named.includes(pin)).map(({ family }) => family));
  return all.filter(({ family }) => wanted.has(family));
}

interface InFamily extends Inspection {
  readonly family: string;
}

function familiesOf(inspections: readonly InFamily[]): InFamily[][] {
  return [...new Set(inspections.map(({ family }) => family))].map((family) =>
    inspections.filter((inspection) => inspection.family === family),
  );
}

const movedTo = ({ id, pinned, newest = pinned, newestReleased: released }: Report): Current => ({
  id,
  version: newest,
  released,
});

async function moveFamily(family: readonly Inspection[], options: UpdateOptions, context: Context): Promise<Change[]> {
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
  const oldText = await readFile(path, 'utf8');
  const newText = await rewrite(oldText, moves, path);
  context.signal.throwIfAborted();
  if (!options.dryRun) await replaceFile(path, (made) => writeFile(made, newText));
  return changes;
}

function changeOf({ pin, source }: Move, offer: Offer, fixes: readonly string[]): Change {
  const place = packagePlaceOf(source);
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

/** Fetches the newest file into the cache of the builds, and returns the pin's new source. */
async function moveOf(pin: Pin, offer: Offer, { cache, signal, log }: Context): Promise<Move> {
  const from = packagePlaceOf(pin.source);
  if (!from) throw new Error(`${pin.id} has an offer and no place`);
  const to = await offer.newestPlace();
  const { maxBytes } = pin.source;
  const wanted = { name: pin.id, version: offer.newest, places: [to], ...(maxBytes === undefined ? {} : { maxBytes }) };
  log(`fetching ${pin.id} ${offer.newest}`);
  const path = await fetchSource(cache, wanted, { signal, progress: () => undefined });
  return { pin, ...moveSource(pin.source, from, to, await hashFile(path, 'sha1')) };
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

/** Reports tests and documents that contain an old version. A person must change them. */
async function reportMentions(
  changes: readonly Change[],
  { root, write }: UpdateOptions,
  signal: AbortSignal,
): Promise<void> {
  const gone = changes.filter(({ source, sourceNow }) => source !== sourceNow).map(({ source }) => source);
  const elsewhere = ['sources.ts', 'package-lock.json', 'record.json'].map((name) => `:!*${name}`);
  for (const version of new Set(gone)) {
    const args = ['grep', '-l', '-F', '-w', '-e', version, '--', ...elsewhere];
    const { stdout } = await run('git', args, { cwd: root, signal }).catch(() => ({ stdout: '' })); // no match, or no repository
    const files = stdout.split('\n').filter(Boolean);
    if (files.length > 0) write(`${version} is also named in ${files.join(', ')}\n`);
  }
}
