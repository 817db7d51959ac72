/** What the site has: whatever is in the repository must be found in its menu, and in the reference of libraries. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import config from '../../../docs/.vitepress/config.js';
import { libraries } from '../libraries.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const ENGINE = '@nodeos/engine';
/** Stand alone too, but are made for the engine and the command, or are no library. */
const INTERNAL = ['create-nodeos', 'targets', 'vm'];

const DEPENDENCIES = new Map(
  ['initramfs', 'bootfs', 'kernel', ...readdirSync(join(ROOT, 'packages')).map((name) => `packages/${name}`)].map(
    (folder) => {
      const { name, dependencies = {} } = JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')) as {
        name: string;
        dependencies?: Record<string, string>;
      };
      return [name, { folder, names: Object.keys(dependencies) }];
    },
  ),
);
const needsEngine = (name: string): boolean =>
  name === ENGINE || (DEPENDENCIES.get(name)?.names ?? []).some(needsEngine);

it('the README has every package in its table', () => {
  const [, table = ''] =
    /^## How it is built\n(.*?)^MIT licence/ms.exec(readFileSync(join(ROOT, 'README.md'), 'utf8')) ?? [];
  const names = readdirSync(join(ROOT, 'packages'));
  expect(names.filter((name) => !new RegExp(`^\\| .*(/|, \\[?)${name}\\b.* \\| `, 'm').test(table))).toEqual([]);
});

describe('the site', () => {
  it('has every page in its menu, once', () => {
    const groups = config.themeConfig?.sidebar as { items: { link: string }[] }[];
    const links = groups.flatMap(({ items }) => items.map(({ link }) => `${link.slice(1)}.md`));
    const names = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' });
    const pages = names.filter(
      (name) => name.endsWith('.md') && !/^(index\.md|reference\/(api|packages|C))/.test(name),
    );
    expect(pages.length).toBeGreaterThan(20);
    expect(links.filter((link) => !link.startsWith('reference/C') && !link.startsWith('reference/api')).sort()).toEqual(
      pages.sort(),
    );
  });

  it('has the API of every library that does without the engine, and no other', async () => {
    const alone = [...DEPENDENCIES]
      .filter(([name]) => !needsEngine(name))
      .map(([, { folder }]) => folder.split('/')[1]);
    expect(await libraries()).toEqual(alone.filter((name) => !INTERNAL.includes(name ?? '')).sort());
  });
});
