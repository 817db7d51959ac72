/**
 * Decides which packages may run code on this machine while an image is built, by `allowScripts` of package.json, the
 * field of npm 11. By default, none may. https://docs.npmjs.com/cli/commands/npm-install-scripts
 */
import type { LockedPackage } from './lock.js';

export type Rules = Readonly<Record<string, boolean>>;

/** The form of file URLs in npm's registry. A package from anywhere else can claim any name and version. */
const OF_REGISTRY = /^https?:\/\/[^/]+\/.+\/-\/[^/]+\.tgz$/;

type Identity = Pick<LockedPackage, 'name' | 'version' | 'resolved'>;

const isFromRegistry = ({ resolved }: Identity): boolean => resolved === undefined || OF_REGISTRY.test(resolved);
export const isFromGit = ({ resolved }: Identity): boolean => resolved?.startsWith('git') === true;

/** The key that stands for exactly this package in `allowScripts`. */
export const idOf = (one: Identity): string =>
  isFromRegistry(one) ? `${one.name}@${one.version}` : (one.resolved ?? one.name);

/**
 * What the rules say about a package: `{"NAME": false, "NAME@1.2.3": true, "NAME@1.0.0 || 1.1.0": true,
 * "git+https://…#1a2b3c4": true}`. A refusal wins.
 * @returns undefined if no rule matches
 */
export function ruleFor(rules: Rules, one: Identity): boolean | undefined {
  const means = isFromRegistry(one) ? meansRelease : meansPlace;
  const found = Object.entries(rules).filter(([key]) => means(key, one));
  return found.length === 0 ? undefined : found.every(([, allowed]) => allowed);
}

function meansRelease(key: string, { name, version }: Identity): boolean {
  const [, who = key, versions] = /^(@?[^@]+)@(.*)$/.exec(key) ?? [];
  return who === name && (versions === undefined || versions.split('||').some((one) => one.trim() === version));
}

/** Whether a key means a repository at any commit, or at a commit given by at least its first 7 digits. */
function meansPlace(key: string, { resolved = '' }: Identity): boolean {
  if (key === resolved || key === resolved.replace(/#.*$/, '')) return true;
  return /#[0-9a-f]{7,}$/.test(key) && resolved.startsWith(key);
}

/** Messages about packages whose code does not run, because no rule allows or refuses it. */
export function unreviewed(packages: readonly LockedPackage[], rules: Rules): string[] {
  const open = packages.filter((one) => (one.hasInstallScript || isFromGit(one)) && ruleFor(rules, one) === undefined);
  if (open.length === 0) return [];
  const ids = open.map(idOf);
  const entries = ids.map((id) => `"${id}": true`).join(', ');
  return [
    `install scripts are not run, and native code is not compiled, of ${ids.join(', ')}: that runs their code on this ` +
      `machine. To allow it, "allowScripts": {${entries}} in package.json; false for none of it`,
  ];
}
