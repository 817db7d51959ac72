/**
 * npm run docs: builds the site of the documentation in docs/.vitepress/dist, with the API reference of the libraries,
 * and checks its links. Exit status 1 if one leads nowhere.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Application } from 'typedoc';
import { build } from 'vitepress';
import { siteLink, sitePath } from '../../docs/.vitepress/links.js';
import { libraries } from './libraries.js';
import { brokenLinks } from './links.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOCS = join(ROOT, 'docs');

/** Writes docs/reference/api from the comments in the sources. */
async function writeApi() {
  const application = await Application.bootstrapWithPlugins({
    name: 'API of the libraries',
    entryPointStrategy: 'packages',
    entryPoints: (await libraries()).map((name) => join(ROOT, 'packages', name)),
    packageOptions: {
      entryPoints: ['index.ts'],
      readme: 'none',
      excludeInternal: true,
      validation: { notExported: false },
    },
    plugin: ['typedoc-plugin-markdown'],
    outputs: [{ name: 'markdown', path: join(DOCS, 'reference/api') }],
    entryFileName: 'index',
    readme: 'none',
    disableSources: true,
    hidePageHeader: true,
    hideBreadcrumbs: true,
    useCodeBlocks: true,
    // Angle brackets in comments are text, and no tags of the page.
    sanitizeComments: true,
    githubPages: false,
    logLevel: 'Warn',
  });
  const project = await application.convert();
  if (!project) throw new Error('typedoc could not read the sources of the libraries');
  await application.generateOutputs(project);
}

/** Pages of the repository that are not below docs/. Their links become those of the site. */
async function copyPages() {
  const packages = (await readdir(join(ROOT, 'packages'))).map((name) => `packages/${name}/README.md`);
  for (const path of [...packages, 'CONTRIBUTING.md', 'CHANGELOG.md']) {
    const text = await readFile(join(ROOT, path), 'utf8').catch(() => undefined);
    if (text === undefined) continue; // not every package has a README
    const to = join(DOCS, sitePath(path) ?? '');
    await mkdir(join(to, '..'), { recursive: true });
    await writeFile(
      to,
      text.replace(/(\]\()([^)\s]+)(\))/g, (_, before, href, after) => before + siteLink(path, href) + after),
    );
  }
}

for (const made of ['api', 'packages']) await rm(join(DOCS, 'reference', made), { recursive: true, force: true });
await writeApi();
await copyPages();
await build(DOCS);
const broken = await brokenLinks(join(DOCS, '.vitepress/dist'));
for (const { page, href } of broken) console.error(`${page}: ${href} leads nowhere`);
process.exitCode = broken.length > 0 ? 1 : 0;
