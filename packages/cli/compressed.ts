/** Files that are compressed, by the ends of their names. */

/** Forms of sources (packages/disk) for files with these endings. */
const FORMS: Readonly<Record<string, string>> = { '.xz': 'xz:', '.zst': 'zstd:' };
/** A source in a form that the user named. */
const HAS_FORM = /^[a-z0-9-]+:(?!\/\/)/;

/** The source that unpacks a file whose name says that it is compressed; any other source as it is. */
export function unpacked(source: string): string {
  if (HAS_FORM.test(source)) return source;
  return `${Object.entries(FORMS).find(([ending]) => source.endsWith(ending))?.[1] ?? ''}${source}`;
}
