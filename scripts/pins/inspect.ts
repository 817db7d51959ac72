/** Inspects a pin: the newest version, the release dates of both versions, and what the newest version fixes. */
import { messageOf, NodeosError } from '@nodeos/base';
import { checksumOf, type Place } from '@nodeos/engine';
import type { Release } from './changelog.js';
import type { Pin } from './pins.js';
import { packagePlaceOf, kindOf, packageOf, type Context, type Offer } from './places/index.js';
import { entryOf, type Entries } from './record.js';

/** `by hand`: none of its places can be queried. `unknown`: the query failed, or the place only has older versions. */
export type State = 'newest' | 'behind' | 'by hand' | 'unknown';

export interface Inspection {
  readonly pin: Pin;
  readonly offer?: Offer;
  readonly report: Report;
}

export interface Report {
  readonly id: string;
  readonly file: string;
  readonly place?: string;
  readonly package?: string;
  readonly pinned: string;
  readonly released?: string;
  readonly state: State;
  readonly newest?: string;
  readonly newestReleased?: string;
  /** The day on which the first newer version was released. */
  readonly outdatedSince?: string;
  /** CVE identifiers that later versions fix, if the place lists them. */
  readonly fixes: readonly string[];
  /** Whether only the packaging is newer. Its fixes are patches, which are not in the pinned file. */
  readonly sameFile?: true;
  /** What is unknown, and why. */
  readonly problems: readonly string[];
}

/** If the query fails, the report contains the problem, so that other pins are still inspected. */
export async function inspect(pin: Pin, entries: Entries, context: Context): Promise<Inspection> {
  const place = packagePlaceOf(pin.source);
  const kind = place && kindOf(place);
  const base = {
    id: pin.id,
    file: pin.file,
    pinned: pin.source.version,
    state: 'unknown',
    fixes: [],
    problems: [],
  } as const;
  if (!place || !kind)
    return { pin, report: { ...base, state: 'by hand', problems: ['none of its places can be queried'] } };
  const known = entryOf(entries, pin);
  try {
    const offer = await kind.query(place, context);
    const state = stateOf(offer);
    const same = state === 'behind' && (await isSameFile(place, offer)) ? { sameFile: true as const } : {};
    const dates = await history(offer, known?.released, context);
    const named = { ...base, place: kind.name, package: offer.package, pinned: offer.pinned, newest: offer.newest };
    const older = state === 'unknown' ? [`its place only has ${offer.newest}`] : [];
    return { pin, offer, report: { ...named, ...dates, ...same, state, problems: [...dates.problems, ...older] } };
  } catch (error) {
    context.signal.throwIfAborted();
    const { package: name, version } = packageOf(place);
    const named = { ...base, place: kind.name, package: name, pinned: version };
    return { pin, report: { ...named, problems: [reasonOf(error)] } };
  }
}

async function isSameFile(place: Place, offer: Offer): Promise<boolean> {
  return checksumOf(await offer.newestPlace()).digest === checksumOf(place).digest;
}

function stateOf({ compare, newest, pinned }: Offer): State {
  const order = compare(newest, pinned);
  return order === 0 ? 'newest' : order > 0 ? 'behind' : 'unknown';
}

type History = Pick<Report, 'released' | 'newestReleased' | 'outdatedSince' | 'fixes' | 'problems'>;

/** Reads the releases only if necessary, because a changelog has several megabytes. */
async function history(offer: Offer, released: string | undefined, { signal }: Context): Promise<History> {
  const { newest, pinned, compare } = offer;
  if (released !== undefined && newest === pinned) return { ...dates(released, released), fixes: [], problems: [] };
  let releases: Release[];
  try {
    releases = await offer.history();
  } catch (error) {
    signal.throwIfAborted();
    return { ...dates(released, undefined), fixes: [], problems: [reasonOf(error)] };
  }
  const dateOf = (version: string): string | undefined => releases.find((release) => release.version === version)?.date;
  const later = releases.filter(({ version }) => compare(version, pinned) > 0 && compare(version, newest) <= 0);
  const fixes = [...new Set(later.flatMap((release) => release.fixes))].sort();
  const [next] = later.sort((a, b) => compare(a.version, b.version));
  const since = next?.date === undefined ? {} : { outdatedSince: next.date };
  return { ...dates(released ?? dateOf(pinned), dateOf(newest)), ...since, fixes, problems: [] };
}

function dates(released: string | undefined, newestReleased: string | undefined): Partial<Report> {
  return {
    ...(released === undefined ? {} : { released }),
    ...(newestReleased === undefined ? {} : { newestReleased }),
  };
}

const reasonOf = (error: unknown): string =>
  [messageOf(error), ...(error instanceof NodeosError ? [...error.lines, error.hint ?? ''] : [])]
    .filter(Boolean)
    .join('; ');
