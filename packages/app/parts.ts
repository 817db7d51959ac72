/** An application as parts of a root: its files and settings, its dependencies, and native code. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { entryPath, PATHS } from '@nodeos/contract';
import { artifact, type Step } from '@nodeos/engine';
import type { Part } from '@nodeos/rootfs';
import type { Target } from '@nodeos/targets';
import { concat, directory, file, fromDirectory, type Tree } from '@nodeos/tree';
import { additionsPart } from './additions.js';
import { appFiles, appModules } from './app-files.js';
import type { Application } from './application.js';
import type { Libc } from './installers.js';
import { nativeAddon, nativeModules, type NativeTools } from './native.js';

const PREFIX = entryPath(PATHS.app);

/** @returns the parts; the application's own files come first */
export async function appParts(target: Target, app: Application, libc: Libc, tools: NativeTools): Promise<Part[]> {
  const modules = await appModules(target, app, libc);
  const [main] = modules;
  const native = [main && nativeModules(target, app, main, tools), nativeAddon(target, app, main, tools)];
  const extra = [...modules, ...native].filter((step) => step !== undefined);
  const { files = {} } = app.manifest.nodeos ?? {};
  const additions = Object.keys(files).length > 0 ? [await additionsPart(target, files)] : [];
  return [filesPart(appFiles(target, app, main, libc)), ...extra.map(extraPart), ...additions];
}

/** The application's own files and settings. */
export const filesPart = (step: Step): Part => partOf(step, appTree);

/** Additional contents of the application's folder: dependencies and native code. */
export const extraPart = (step: Step): Part => partOf(step, extraTree);

const partOf = (step: Step, tree: Part['tree']): Part => ({
  name: step.name,
  artifact: artifact(step, 'folder'),
  recipe: import.meta.url,
  tree,
});

async function appTree(output: string): Promise<Tree> {
  const settings = file(entryPath(PATHS.system), await readFile(join(output, 'nodeos.json')));
  return concat([directory('etc')], [settings], fromDirectory(join(output, 'files'), { prefix: PREFIX }));
}

const extraTree = (output: string): Tree =>
  concat([directory(PREFIX)], fromDirectory(join(output, 'files'), { prefix: PREFIX }));
