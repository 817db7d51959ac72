/** Parses Debian's changelogs (deb-changelog(5)): the date of each version, and the vulnerabilities that it fixes. */

export interface Release {
  readonly version: string;
  /** The day in UTC, such as `2026-11-26`. */
  readonly date: string | undefined;
  /** The CVE identifiers in its entry, sorted. */
  readonly fixes: readonly string[];
}

/** The releases in a changelog, in its order: newest first. */
export function parseChangelog(text: string): Release[] {
  const entries = text.split(/^(?=\S+ \([^()\s]+\)(?: [^\s;]+)+;)/m);
  return entries
    .filter((entry) => /^\S+ \(/.test(entry))
    .map((entry) => {
      const [, version = ''] = /\(([^()\s]+)\)/.exec(entry) ?? [];
      const [, date = ''] = /^ -- .*?> {2}(.+)$/m.exec(entry) ?? [];
      return { version, date: dayOf(date), fixes: [...new Set(entry.match(/CVE-\d{4}-\d{4,}/g) ?? [])].sort() };
    });
}

/** The day of a date in UTC, such as `2026-11-26`. Undefined if the text is not a date. */
export function dayOf(date: string): string | undefined {
  const time = Date.parse(date);
  return Number.isNaN(time) ? undefined : new Date(time).toISOString().slice(0, 10);
}
