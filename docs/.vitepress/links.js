/** Where files of the repository are on the site. Pages link to each other by their paths in the repository. */
import { posix } from 'node:path';

/** Paths in the repository, and their paths below docs/. The first row that matches counts. */
const PLACES = [
  [/^docs\/(.*)$/, '$1'],
  [/^packages\/([a-z-]+)\/README\.md$/, 'reference/packages/$1.md'],
  [/^(CONTRIBUTING|CHANGELOG)\.md$/, 'reference/$1.md'],
];

/**
 * @param {string} path in the repository
 * @returns {string | undefined} the path below docs/; undefined if it is not on the site
 */
export function sitePath(path) {
  const place = PLACES.find(([pattern]) => pattern.test(path));
  return place && path.replace(place[0], place[1]);
}

/**
 * @param {string} from the path of the page in the repository
 * @param {string} href as it is written there
 * @returns {string} the same link on the site
 */
export function siteLink(from, href) {
  const [path = '', anchor] = href.split('#');
  if (path === '' || /^[a-z]+:/.test(path)) return href;
  const to = sitePath(posix.join(posix.dirname(from), path));
  const page = sitePath(from);
  if (to === undefined || page === undefined) return href;
  const relative = posix.relative(posix.dirname(page), to);
  return `${relative.startsWith('.') ? relative : `./${relative}`}${anchor === undefined ? '' : `#${anchor}`}`;
}
