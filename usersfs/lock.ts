/** package-lock.json: which packages will be installed. https://docs.npmjs.com/cli/configuring-npm/package-lock-json */
import type { Target } from '@nodeos/build';

export interface Lock {
  readonly packages?: Readonly<Record<string, LockEntry>>;
}

interface LockEntry {
  readonly version?: string;
  readonly dev?: boolean;
  /** It has an install script, or native code that node-gyp compiles. */
  readonly hasInstallScript?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
}

export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** Below the application's folder: `node_modules/NAME`. */
  readonly path: string;
  readonly hasInstallScript: boolean;
}

/** The packages of a production install for the target, in the order of their paths. */
export function lockedPackages(lock: Lock, target: Target): LockedPackage[] {
  return Object.entries(lock.packages ?? {})
    .filter(([path, { dev }]) => path !== '' && dev !== true)
    .filter(([, { os, cpu }]) => serves(os, 'linux') && serves(cpu, target.nodeArch))
    .map(([path, { version = '', hasInstallScript = false }]) => {
      return { name: path.replace(/^.*node_modules\//, ''), version, path, hasInstallScript };
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** `["linux"]`, `["!win32"]`. https://docs.npmjs.com/cli/configuring-npm/package-json#os */
function serves(list: readonly string[] | undefined, name: string): boolean {
  if (list === undefined || list.length === 0) return true;
  if (list.includes(`!${name}`)) return false;
  return list.includes(name) || list.every((one) => one.startsWith('!'));
}

/**
 * What `allowScripts` of package.json says of a package: `{"NAME": false, "NAME@1.2.3": true, "NAME@1.0.0 || 1.1.0": true}`.
 * A refusal wins. https://docs.npmjs.com/cli/commands/npm-install-scripts
 * @returns undefined if it says nothing
 */
export function ruleFor(
  rules: Readonly<Record<string, boolean>>,
  { name, version }: Pick<LockedPackage, 'name' | 'version'>,
): boolean | undefined {
  const found = Object.entries(rules)
    .filter(([key]) => {
      const [, who = key, versions] = /^(@?[^@]+)@(.*)$/.exec(key) ?? [];
      return who === name && (versions === undefined || versions.split('||').some((one) => one.trim() === version));
    })
    .map(([, allowed]) => allowed);
  return found.length === 0 ? undefined : !found.includes(false);
}
