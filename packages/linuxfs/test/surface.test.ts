/** What there is, compared with what the Node.js that runs this has. */
import * as nodePromises from 'node:fs/promises';
import * as nodeFs from 'node:fs';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { FileHandle } from '../file-handle.js';
import { MountedFilesystem } from '../mounted.js';
import type { Kernel } from '../kernel.js';
import { Volume } from '../volume.js';

const mounted = new MountedFilesystem(new Volume(undefined as unknown as Kernel, 0), {
  type: 'ext4',
  isReadOnly: true,
  size: 0,
  release: () => Promise.resolve(),
});

/** Of Node.js 26, experimental and behind a flag; and what emitters and classes have for themselves. */
const NOT_OF_HANDLES = ['pull', 'pullSync', 'writer', 'constructor', 'getAsyncId'];
/**
 * Sync functions, watching, and what is no function of a filesystem: classes, and what has been deprecated for ten years.
 * `openAsBlob` makes what only Node.js itself can make.
 */
const NOT_OF_CALLBACKS =
  /Sync$|^(un)?watch(File)?$|^[A-Z_]|^(default|openAsBlob|constants|promises|create(Read|Write)Stream)$/;

it('has all of node:fs/promises', () => {
  const missing = Object.keys(nodePromises).filter((name) => name !== 'default' && !(name in mounted.promises));
  expect(missing).toEqual([]);
});

it('has all of the FileHandle', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nodeos-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'x'), '');
  const handle = await nodePromises.open(join(folder, 'x'));
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(handle));
  const symbols = Object.getOwnPropertySymbols(Object.getPrototypeOf(handle)).filter(
    (one) => one === Symbol.asyncDispose,
  );
  await handle.close();
  const missing = [...names, ...symbols].filter((name) => !(name in FileHandle.prototype));
  expect(missing.filter((name) => !NOT_OF_HANDLES.includes(String(name)))).toEqual([]);
});

it('has all of node:fs that takes a callback', () => {
  const missing = Object.keys(nodeFs).filter((name) => !NOT_OF_CALLBACKS.test(name) && !(name in mounted.fs));
  expect(missing).toEqual([]);
});
