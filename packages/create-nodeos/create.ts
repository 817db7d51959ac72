/** Writes a new application from a template: the files of a folder, and a package.json. */
import { cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const TEMPLATES = ['js', 'ts'] as const;
export type Template = (typeof TEMPLATES)[number];

export const isTemplate = (name: string): name is Template => TEMPLATES.some((template) => template === name);

const HERE = fileURLToPath(new URL('..', import.meta.url));

/**
 * Writes an application.
 * @param folder a new or empty folder; its name becomes the package's
 * @throws Error if the folder has files, or cannot be written
 */
export async function createApplication(folder: string, template: Template): Promise<void> {
  await mkdir(folder, { recursive: true });
  const there = await readdir(folder);
  if (there.length > 0) throw new Error(`${folder} is not empty: it has ${there.slice(0, 3).join(', ')}`);
  await cp(join(HERE, 'templates/common'), folder, { recursive: true });
  await cp(join(HERE, 'templates', template), folder, { recursive: true });
  // npm packs no file of this name.
  await rename(join(folder, 'gitignore'), join(folder, '.gitignore'));
  const manifest = manifestOf(packageName(basename(folder)), template, await nodeosSpec());
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

/** What a package of npm may be called. */
const packageName = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[._-]+/, '') || 'appliance';

/** The version of nodeos that belongs to this package, under the name that it is published with. */
async function nodeosSpec(): Promise<string> {
  const own = JSON.parse(await readFile(join(HERE, 'package.json'), 'utf8')) as {
    peerDependencies: { nodeos: string };
  };
  return own.peerDependencies.nodeos;
}

function manifestOf(name: string, template: Template, nodeos: string): object {
  const isTyped = template === 'ts';
  return {
    name,
    version: '1.0.0',
    private: true,
    type: 'module',
    main: `server.${template}`,
    scripts: {
      dev: 'nodeos dev .',
      start: 'nodeos start .',
      build: 'nodeos build --app . --out out',
      test: 'node --test',
      ...(isTyped ? { check: 'tsc' } : {}),
    },
    devDependencies: {
      nodeos,
      ...(isTyped ? { '@types/node': '^26.0.0', typescript: '^5.9.0' } : {}),
    },
  };
}
