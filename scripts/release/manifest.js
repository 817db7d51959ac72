/** The package.json that is published. */

const KEYWORDS = ['nodeos', 'nodejs', 'linux', 'operating-system', 'unikernel', 'appliance'];
const DEPENDENCIES = ['dependencies', 'optionalDependencies', 'peerDependencies'];

/**
 * A package with another name here keeps the name by which the others import it: they depend on it by an alias, so that
 * the code is the same, and with it the keys of what it builds. `nodeosPackage` says that name.
 * @param {Record<string, any>} manifest as it is in the repository
 * @param {string} directory its folder there
 * @param {{ names: Record<string, string>, version?: string, repository?: string }} release
 */
export function publishedManifest(manifest, directory, { names, version, repository }) {
  const name = publishedName(manifest.name, names);
  const result = {
    ...manifest,
    name,
    ...(name === manifest.name ? {} : { nodeosPackage: manifest.name }),
    version: version ?? manifest.version,
    keywords: [...KEYWORDS, ...(manifest.keywords ?? [])],
    ...(repository === undefined ? {} : { repository: { type: 'git', url: repository, directory } }),
    publishConfig: { access: 'public' },
  };
  for (const kind of DEPENDENCIES) if (manifest[kind]) result[kind] = dependencies(manifest[kind], names, version);
  delete result.devDependencies; // nobody who installs it gets them
  return result;
}

const dependencies = (wanted, names, version) =>
  Object.fromEntries(
    Object.entries(wanted).map(([name, range]) => {
      const published = publishedName(name, names);
      if (published === undefined) return [name, range];
      const exact = version ?? range;
      return [name, published === name ? exact : `npm:${published}@${exact}`];
    }),
  );

/** @returns the published name of a package of this repository; undefined for any other package */
function publishedName(name, names) {
  const [key, published] =
    Object.entries(names).find(([key]) => name === key || (key.endsWith('/') && name.startsWith(key))) ?? [];
  return key === undefined ? undefined : published + name.slice(key.length);
}
