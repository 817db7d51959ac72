/** Checks the links of a built site: pages, files and anchors. */
import { readdir, readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';

/**
 * @param {string} dist the folder of the site
 * @returns {Promise<{ page: string, href: string }[]>} links that lead nowhere
 */
export async function brokenLinks(dist) {
  const files = new Set((await readdir(dist, { recursive: true })).map((path) => path.replaceAll('\\', '/')));
  const pages = [...files].filter((path) => path.endsWith('.html'));
  const texts = new Map(await Promise.all(pages.map(async (page) => [page, await readFile(join(dist, page), 'utf8')])));
  if (pages.length === 0) throw new Error(`${dist} has no page`);
  return pages.flatMap((page) =>
    hrefsIn(texts.get(page))
      .filter((href) => !leadsSomewhere(page, href, files, texts))
      .map((href) => ({ page, href })),
  );
}

const hrefsIn = (html) => [
  ...new Set(
    [...html.matchAll(/<a [^>]*?href="([^"]*)"|<img [^>]*?src="([^"]*)"/g)].map((match) => match[1] ?? match[2]),
  ),
];

function leadsSomewhere(page, href, files, texts) {
  if (/^([a-z]+:|\/\/)/.test(href)) return true; // other sites, and data
  const [path = '', anchor = ''] = href.replaceAll('&amp;', '&').split('#');
  const to = path === '' ? page : posix.join(path.startsWith('/') ? '' : posix.dirname(page), decodeURI(path));
  const name = to.replace(/^\//, '');
  const found = [name, `${name}.html`, posix.join(name, 'index.html')].find((candidate) => files.has(candidate));
  if (found === undefined) return false;
  const target = texts.get(found);
  return anchor === '' || target === undefined || target.includes(`id="${decodeURIComponent(anchor)}"`);
}
