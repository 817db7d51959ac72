/**
 * Decides which packages may run code on this machine while an image is built, by `allowScripts` of package.json, the
 * field of npm 11. By default, none may. https://docs.npmjs.com/cli/commands/npm-install-scripts
 */
import type { LockedPackage } from './lock.js';

export type Rules = Readonly<Record<string, boolean>>;

/** The form of file URLs in npm's registry. A package from anywhere else can claim any name and version. */
const REGISTRY_URL = /^https?:\/\/[^/]+\/.+\/-\/[^/]+\.tgz$/;

type Identity = Pick<LockedPackage, 'name' | 'version' | 'resolved'>;

const isFromRegistry = ({ resolved }: Identity): boolean => resolved === undefined || REGISTRY_URL.test(resolved);
export const isFromGit = ({ resolved }: Identity): boolean => resolved?.startsWith('git') === true;

/** The key that stands for exactly this package in `allowScripts`. */
export const idOf = (pkg: Identity): string =>
  isFromRegistry(pkg) ? `${pkg.name}@${pkg.version}` : (pkg.resolved ?? pkg.name);

/**
 * What the rules say about a package: `{"NAME": false, "NAME@1.2.3": true, "NAME@1.0.0 || 1.1.0": true,
 * "git+https://…#1a2b3c4": true}`. A refusal wins.
 * @returns undefined if no rule matches
 */
export function ruleFor(rules: Rules, pkg: Identity): boolean | undefined {
  const matches = isFromRegistry(pkg) ? matchesRelease : matchesResolved;
  const found = Object.entries(rules).filter(([key]) => matches(key, pkg));
  return found.length === 0 ? undefined : found.every(([, allowed]) => allowed);
}

function matchesRelease(key: string, { name, version }: Identity): boolean {
  const [, keyName = key, versions] = /^(@?[^@]+)@(.*)$/.exec(key) ?? [];
  return (
    keyName === name &&
    (versions === undefined || versions.split('||').some((candidate) => candidate.trim() === version))
  );
}

/** Whether a key means a repository at any commit, or at a commit given by at least its first 7 digits. */
function matchesResolved(key: string, { resolved = '' }: Identity): boolean {
  if (key === resolved || key === resolved.replace(/#.*$/, '')) return true;
  return /#[0-9a-f]{7,}$/.test(key) && resolved.startsWith(key);
}

/** Messages about packages whose code does not run, because no rule allows or refuses it. */
export function unreviewed(packages: readonly LockedPackage[], rules: Rules): string[] {
  const pending = packages.filter(
    (pkg) => (pkg.hasInstallScript || isFromGit(pkg)) && ruleFor(rules, pkg) === undefined,
  );
  if (pending.length === 0) return [];
  const ids = pending.map(idOf);
  const entries = ids.map((id) => `"${id}": true`).join(', ');
  return [
    `install scripts are not run, and native code is not compiled, of ${ids.join(', ')}: that runs their code on this ` +
      `machine. To allow it, "allowScripts": {${entries}} in package.json; false for none of it`,
  ];
}
