/** Installs applications with the real npm and shows what an image would contain. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { build, Cache, type Progress } from '@nodeos/engine';
import { afterAll } from 'vitest';
import { appFiles, appModules, readApplication, type Application, type ReadOptions } from '../index.js';

export const target = targetOf(DEFAULT_TARGET);
export type Files = Readonly<Record<string, string | object>>;

export const root = mkdtempSync(join(tmpdir(), 'nodeos-app-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

/** Makes a folder with these files. Values other than text are written as JSON. */
export function folder(files: Files, dir = join(root, `${count++}`)): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return dir;
}

export const read = (dir: string, options?: ReadOptions): Promise<Application> => readApplication(dir, target, options);

export function command(cwd: string, program: string, ...args: string[]): string {
  return execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Makes the lock file with npm. */
export function createLock(dir: string): string {
  command(dir, 'npm', 'install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund');
  return dir;
}

const events: string[] = [];
const progress: Progress = {
  event(event) {
    if (event.type === 'start') events.push(event.step.name);
  },
  close: () => Promise.resolve(),
};

export interface Installed {
  readonly app: Application;
  /** The folder that becomes /app on the target. */
  readonly imageDir: string;
  /** The configuration for the init. */
  readonly config: {
    readonly main: string;
    readonly args: readonly unknown[];
    readonly nodeArgs: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly cwd: string;
    readonly first: readonly { readonly main: string; readonly args: readonly unknown[]; readonly from: string }[];
  };
  /** The steps that were not cached. */
  readonly builtSteps: readonly string[];
  /** The cache with the outputs and logs of the steps. */
  readonly cache: Cache;
}

/** Installs and packs an application. @param cache an empty cache for a build from scratch */
export async function install(dir: string, cache = new Cache(join(root, 'cache'))): Promise<Installed> {
  const app = await read(dir);
  const modules = await appModules(target, app, 'musl');
  const appStep = appFiles(target, app, modules[0], 'musl');
  events.length = 0;
  const { steps: built } = await build([appStep, ...modules], { cache, progress, jobs: 2 });
  const builtSteps = [...events];
  const imageDir = join(root, `image-${count++}`);
  mkdirSync(imageDir);
  for (const { output } of built) {
    cpSync(join(output, 'files'), imageDir, { recursive: true, verbatimSymlinks: true });
  }
  const config = JSON.parse(readFileSync(join(built[0]?.output ?? '', 'nodeos.json'), 'utf8')) as Installed['config'];
  return { app, imageDir, config, builtSteps, cache };
}

/** Runs the application with this machine's Node.js. @returns what it prints */
export function runApp({ imageDir, config }: Installed): string {
  const hostPath = (path: string): string => path.replace(/^\/app/, imageDir);
  return execFileSync(process.execPath, [...config.nodeArgs, hostPath(config.main), ...config.args.map(String)], {
    cwd: hostPath(config.cwd),
    encoding: 'utf8',
    env: { ...config.env },
  });
}
