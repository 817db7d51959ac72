/** Links of the pages as they are in the repository, and the check of the built site. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { siteLink, sitePath } from '../../../docs/.vitepress/links.js';
import { brokenLinks } from '../links.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: ROOT,
  encoding: 'utf8',
});
const FILES = tracked.split('\n').filter((path) => path !== '' && existsSync(join(ROOT, path)));
const PAGES = FILES.filter((path) => path.endsWith('.md'));

const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const withoutCode = (text: string): string => text.replace(/^```.*?^```$/gms, '').replace(/`[^`\n]*`/g, '');

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(path: string): Set<string> {
  const headings = [
    ...textOf(path)
      .replace(/^```.*?^```$/gms, '')
      .matchAll(/^#+ (.*)$/gm),
  ].map(([, text = '']) => text);
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

describe('the pages', () => {
  it('are found', () => {
    expect(PAGES).toEqual(expect.arrayContaining(['README.md', 'docs/index.md', 'packages/nbd/README.md']));
  });

  it.each(PAGES)('%s links to what is there', (page) => {
    const links = [...withoutCode(textOf(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, href = '']) => href);
    const broken = links.filter((href) => {
      if (/^[a-z]+:/.test(href)) return false;
      const [path = '', anchor] = href.split('#');
      const target = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path));
      if (!existsSync(join(ROOT, target))) return true;
      return anchor !== undefined && !anchorsOf(target).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  // What a page of the site links to must be on the site too. `npm run docs` says the same, minutes later.
  it.each(PAGES.filter((page) => sitePath(page) !== undefined))('%s links to what the site has', (page) => {
    const links = [...withoutCode(textOf(page)).matchAll(/\]\(([^)\s#]+)[^)]*\)/g)].map(([, href = '']) => href);
    const outside = links.filter(
      (href) => !/^[a-z]+:/.test(href) && sitePath(posix.join(dirname(page), href)) === undefined,
    );
    expect(outside).toEqual([]);
  });

  it('are all in the index', () => {
    const index = textOf('docs/index.md');
    const listed = PAGES.filter((path) => path.startsWith('docs/') && path !== 'docs/index.md');
    expect(listed.length).toBeGreaterThan(20);
    expect(listed.filter((path) => !index.includes(`(${path.replace('docs/', '')})`))).toEqual([]);
  });

  it('are there where code and messages name them', () => {
    const sources = FILES.filter(
      (path) => /\.(ts|js|c|h|config|json)$|^bin\//.test(path) && path !== 'package-lock.json',
    );
    const named = sources.flatMap((path) =>
      [...textOf(path).matchAll(/(?<!\/)docs\/[\w/-]+\.md/g)].map(([page]) => ({ path, page })),
    );
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter(({ page }) => !existsSync(join(ROOT, page)))).toEqual([]);
  });
});

describe('links of the site', () => {
  it.each([
    ['docs/nbd.md', '../packages/nbd/README.md#threads', './reference/packages/nbd.md#threads'],
    ['docs/reference/libraries.md', '../../packages/nbd/README.md', './packages/nbd.md'],
    ['packages/disk/README.md', '../nbd/README.md', './nbd.md'],
    ['packages/block/README.md', '../../docs/block.md', '../../block.md'],
    ['CONTRIBUTING.md', 'docs/pins.md', '../pins.md'],
    ['docs/index.md', 'https://example.org/', 'https://example.org/'],
  ])('%s: %s is %s', (from, href, expected) => {
    expect(siteLink(from, href)).toBe(expected);
  });

  it('names those that lead nowhere', async () => {
    const dist = mkdtempSync(join(tmpdir(), 'nodeos-site-'));
    onTestFinished(() => rmSync(dist, { recursive: true, force: true }));
    const links = ['/b.html#there', '/b#not-there', 'c.html', '#here', '/b', 'https://example.org'];
    writeFileSync(join(dist, 'a.html'), `<p id="here">${links.map((href) => `<a href="${href}">x</a>`).join('')}</p>`);
    writeFileSync(join(dist, 'b.html'), '<p id="there"><img src="/picture.svg"></p>');
    expect(await brokenLinks(dist)).toEqual([
      { page: 'a.html', href: '/b#not-there' },
      { page: 'a.html', href: 'c.html' },
      { page: 'b.html', href: '/picture.svg' },
    ]);
    writeFileSync(join(dist, 'picture.svg'), '');
    expect((await brokenLinks(dist)).map(({ page }) => page)).toEqual(['a.html', 'a.html']);
  });
});
