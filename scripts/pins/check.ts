/** pins check: reports whether each pin is the newest version. Only --record changes anything: the recorded dates. */
import { findVulnerabilities, type Audit } from './vulnerabilities.js';
import { inspect, type Report } from './inspect.js';
import { selectPins, readPins, type Pin } from './pins.js';
import type { Context } from './places/index.js';
import { daysBetween, entriesFor, readRecord, writeRecord, type Current } from './record.js';

export interface CheckOptions {
  readonly root: string;
  readonly names: readonly string[];
  readonly record: boolean;
  readonly json: boolean;
  readonly now: Date;
  readonly write: (text: string) => void;
}

/** @returns the exit status: 0 if every pin is the newest and no package has a known vulnerability, otherwise 1 */
export async function check(options: CheckOptions, context: Context): Promise<number> {
  const { root, names, json, now, write } = options;
  const pins = await readPins(root);
  const reports = await inspectAll(selectPins(pins, names), root, context);
  const audit = names.length > 0 ? undefined : await findVulnerabilities(root, context.signal);
  if (json) write(JSON.stringify({ pins: reports, ...(audit ? { npm: audit } : {}) }, null, 2) + '\n');
  else write([...table(reports, now), ...(audit ? auditLines(audit) : []), summary(reports)].join('\n') + '\n');
  if (options.record) await writeRecord(root, pins, entriesFor(currentOf(reports), now));
  const vulnerabilities = audit && 'holes' in audit ? audit.holes.length : 0;
  const isFine = ({ state }: Report): boolean => state === 'newest' || state === 'by hand';
  return vulnerabilities === 0 && reports.every(isFine) ? 0 : 1;
}

async function inspectAll(pins: readonly Pin[], root: string, context: Context): Promise<Report[]> {
  const entries = await readRecord(root);
  const reports: Report[] = [];
  for (const pin of pins) reports.push((await inspect(pin, entries, context)).report);
  return reports;
}

/** The versions that can be recorded: those of the pins that are the newest, or of which it is known until when they were. */
export function currentOf(reports: readonly Report[]): Current[] {
  const known = reports.filter(({ state, outdatedSince }) => state === 'newest' || outdatedSince !== undefined);
  return known.map(({ id, pinned, released, outdatedSince: until }) => ({ id, version: pinned, released, until }));
}

function table(reports: readonly Report[], now: Date): string[] {
  const rows = reports.map((report) => [report.id, report.pinned, ageOf(report, now), verdict(report)]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function ageOf({ released }: Report, now: Date): string {
  return released === undefined ? 'date unknown' : `${daysBetween(released, now)} days old`;
}

function verdict(report: Report): string {
  const state = { newest: 'newest', behind: newer(report), 'by hand': 'moved by hand', unknown: 'not known' }[
    report.state
  ];
  return [state, ...report.problems].join('; ');
}

function newer({ newest, newestReleased, fixes, sameFile }: Report): string {
  const version = `${String(newest)}${newestReleased === undefined ? '' : ` of ${newestReleased}`} is newer`;
  const file = sameFile ? ', but has the same file' : '';
  if (fixes.length === 0) return version + file;
  return `${version}${file}; ${sameFile ? 'its patches, which this pin does not include, fix' : 'it fixes'} ${abridged(fixes)}`;
}

const MAX_SHOWN = 5;

const abridged = (names: readonly string[]): string =>
  names.length <= MAX_SHOWN
    ? names.join(', ')
    : `${names.slice(0, MAX_SHOWN).join(', ')} and ${names.length - MAX_SHOWN} more (--json lists them)`;

function auditLines(audit: Audit): string[] {
  if ('unknown' in audit) return [`npm packages: known vulnerabilities could not be looked up: ${audit.unknown}`];
  if (audit.holes.length === 0) return ['npm packages: no known vulnerabilities'];
  return audit.holes.map(
    (found) => `npm package ${found.package} ${found.range}: ${found.severity}: ${found.title} (${found.url})`,
  );
}

function summary(reports: readonly Report[]): string {
  const count = (state: Report['state']): number => reports.filter((report) => report.state === state).length;
  const hint = count('behind') > 0 ? '; npm run pins update moves those that are behind' : '';
  const others = (['by hand', 'unknown'] as const).filter((state) => count(state) > 0);
  const words = others.map((state) => `, ${count(state)} ${state === 'by hand' ? 'moved by hand' : 'not known'}`);
  return `${reports.length} pins: ${count('newest')} newest, ${count('behind')} behind${words.join('')}${hint}`;
}
