/**
 * Programs that install from a lock file: npm, and Yarn 1 and pnpm where this machine has them. Each one makes a
 * node_modules of real folders, without files that only the next installation would need. https://pnpm.io/cli/install,
 * https://classic.yarnpkg.com/en/docs/cli/install
 */
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';
import type { StepContext } from '@nodeos/engine';
import { runNpm } from './npm.js';

/** The C library of the runtime. It selects prebuilt binaries. */
export type Libc = 'glibc' | 'musl';

export interface Installation {
  readonly root: string;
  /** The folder of the wanted workspace; `''` for all. */
  readonly member: string;
  readonly target: Target;
  readonly libc: Libc;
  /** Variables with credentials and with paths of this machine. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface Installer {
  readonly program: 'npm' | 'pnpm' | 'yarn';
  /** Optional files next to package.json that affect the installation. */
  readonly files: readonly string[];
  /** @returns why the program cannot install from this lock; undefined if it can */
  unsupportedReason(lock: string): string | undefined;
  install(context: StepContext, installation: Installation): Promise<void>;
}

export const NPM: Installer = {
  program: 'npm',
  files: [],
  unsupportedReason: () => undefined,
  async install(context, { root, member, target, libc, settings }) {
    const platform = ['--os=linux', `--cpu=${target.nodeArch}`, `--libc=${libc}`];
    // Install scripts would run the code of packages and compile for the host. native.ts runs the allowed ones.
    const args = ['ci', '--omit=dev', '--ignore-scripts', ...platform];
    await runNpm(context, [...args, ...(member === '' ? [] : [`--workspace=${member}`])], { cwd: root, settings });
  },
};

const PNPM: Installer = {
  program: 'pnpm',
  files: ['pnpm-workspace.yaml', '.pnpmfile.cjs', 'patches'],
  unsupportedReason: (lock) =>
    /^ {2}(?!\.:)\S+:$/m.test(lock.split(/^packages:/m, 1)[0]?.split(/^importers:/m)[1] ?? '') ||
    /^ +(version|specifier): ['"]?(link|workspace|file):/m.test(lock)
      ? '`pnpm --filter NAME deploy --prod DIR` makes a folder with all that a package of a workspace needs'
      : undefined,
  async install(context, { root, target, libc, settings }) {
    const platform = ['--os=linux', `--cpu=${target.nodeArch}`, `--libc=${libc}`];
    const layout = ['--config.node-linker=hoisted', '--config.package-import-method=copy'];
    const args = ['install', '--prod', '--frozen-lockfile', '--ignore-scripts', '--reporter=append-only'];
    await context.run('pnpm', [...args, ...layout, ...platform], { cwd: root, environment: 'host', env: settings });
    await removeMatching(join(root, 'node_modules'), /^\.(pnpm.*|modules\.yaml)$/);
  },
};

const YARN: Installer = {
  program: 'yarn',
  files: ['.yarnrc'],
  unsupportedReason: (lock) =>
    /^__metadata:/m.test(lock)
      ? 'with Yarn 2 and later, `yarn workspaces focus --production` makes a node_modules to be copied (nodeLinker: node-modules)'
      : /"?@(link|file|portal):/.test(lock)
        ? 'folders beside the application are not taken with Yarn'
        : undefined,
  async install(context, { root, settings }) {
    const args = [
      'install',
      '--production',
      '--frozen-lockfile',
      '--ignore-scripts',
      '--non-interactive',
      '--no-progress',
    ];
    // Yarn 1 has no option for the C library and installs the packages for this machine's platform.
    await context.run('yarn', args, { cwd: root, environment: 'host', env: settings });
    await removeMatching(join(root, 'node_modules'), /^\.yarn-/);
  },
};

/** Removes files for later installations. They contain times and paths of this machine. */
async function removeMatching(folder: string, pattern: RegExp): Promise<void> {
  const found = existsSync(folder) ? await readdir(folder) : [];
  for (const name of found.filter((entry) => pattern.test(entry))) await rm(join(folder, name), { recursive: true });
}

/** The installer for each lock file. */
const BY_LOCK: Readonly<Record<string, Installer>> = { 'pnpm-lock.yaml': PNPM, 'yarn.lock': YARN };

export type Found = { readonly lockFile: string } & ({ readonly installer: Installer } | { readonly refusal: string });

/** Finds the lock file of another installer, with the installer or the reason why it cannot be used. */
export function foreignLock(dir: string): Found | undefined {
  const name = ['pnpm-lock.yaml', 'yarn.lock', 'bun.lock', 'bun.lockb'].find((candidate) =>
    existsSync(join(dir, candidate)),
  );
  if (name === undefined) return undefined;
  const lockFile = join(dir, name);
  const installer = BY_LOCK[name];
  if (!installer) return { lockFile, refusal: 'Bun is not understood' };
  if (!isInstalled(installer.program)) return { lockFile, refusal: `${installer.program} is not installed here` };
  const refusal = installer.unsupportedReason(readFileSync(lockFile, 'utf8'));
  return refusal === undefined ? { lockFile, installer } : { lockFile, refusal };
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}
