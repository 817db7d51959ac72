/** The libraries that stand alone: the rows of docs/reference/libraries.md. The site has a reference of their API. */
import { readFile } from 'node:fs/promises';

const PAGE = new URL('../../docs/reference/libraries.md', import.meta.url);

/** @returns {Promise<string[]>} the names of their folders below packages/ */
export async function libraries() {
  return [...(await readFile(PAGE, 'utf8')).matchAll(/^\| `@nodeos\/([\w-]+)`/gm)].map(([, name]) => name);
}
