/** Debian's changelogs (deb-changelog(5)): when each version was made, and which holes it closes. */

export interface Release {
  readonly version: string;
  /** `2026-11-26` */
  readonly date: string | undefined;
  /** The identifiers of holes (CVE) that its entry names. */
  readonly fixes: readonly string[];
}

/** The releases in a changelog, in its order: the newest first. */
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

/** The day of a moment, in UTC, as `2026-11-26`; undefined for what is no date. */
export function dayOf(date: string): string | undefined {
  const time = Date.parse(date);
  return Number.isNaN(time) ? undefined : new Date(time).toISOString().slice(0, 10);
}
