/** What a published package must have in it, and must not. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const FIELDS = ['description', 'license', 'keywords', 'publishConfig', 'engines', 'exports', 'files'];
const UNWANTED = /(^|\/)(test|node_modules)\/|\.tsbuildinfo$|(^|\/)tsconfig[^/]*\.json$/;

/**
 * @param {string} folder the unpacked package
 * @param {Record<string, unknown>} manifest
 * @returns {Promise<string[]>} a line for each problem
 */
export async function contentProblems(folder, manifest) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const problems = [
    ...FIELDS.filter((field) => manifest[field] === undefined).map((field) => `package.json has no ${field}`),
    ...(existsSync(join(folder, 'LICENSE')) ? [] : ['there is no LICENSE']),
  ];
  for (const file of files) {
    const path = file.slice(folder.length + 1);
    if (UNWANTED.test(path) && !path.startsWith('templates/')) problems.push(`${path} is packed`);
    if (/\.m?js$|\.d\.m?ts$/.test(path)) problems.push(...missingMap(path, file, await readFile(file, 'utf8')));
    if (path.endsWith('.map')) problems.push(...foreignSources(path, file, JSON.parse(await readFile(file, 'utf8'))));
  }
  return problems;
}

function missingMap(path, file, text) {
  const [, map] = /^\/\/# sourceMappingURL=(.+)$/m.exec(text) ?? [];
  return map === undefined || existsSync(join(dirname(file), map)) ? [] : [`${path} names ${map}, which is not packed`];
}

const foreignSources = (path, file, { sources, sourcesContent = [] }) =>
  sources
    .filter((source, index) => typeof sourcesContent[index] !== 'string' && !existsSync(join(dirname(file), source)))
    .map((source) => `${path} points to ${source}, which is not packed`);
