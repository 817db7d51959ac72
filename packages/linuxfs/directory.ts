/** An open folder, as `Dir` of `node:fs`. */
import type { Dirent } from 'node:fs';
import { posix } from 'node:path';
import { O } from './protocol.js';
import { direntOf, isDot } from './stats.js';
import type { Volume } from './volume.js';

export class Directory {
  #position = 0n;
  #ready: Dirent[] = [];
  #fd: number | undefined;
  readonly #later: string[] = [];
  #folder: string;

  constructor(
    private readonly volume: Volume,
    fd: number,
    readonly path: string,
    private readonly options: { readonly recursive?: boolean; readonly encoding?: string },
  ) {
    this.#fd = fd;
    this.#folder = path;
  }

  /** @returns null at the end */
  async read(): Promise<Dirent | null> {
    for (;;) {
      const next = this.#ready.shift();
      if (next) return next;
      if (!(await this.#fill())) return null;
    }
  }

  async #fill(): Promise<boolean> {
    if (this.#fd === undefined)
      throw Object.assign(new Error('Directory handle was closed'), { code: 'ERR_DIR_CLOSED' });
    const { entries, next } = await this.volume.readdir(this.#fd, this.#position, false);
    this.#position = next;
    for (const entry of entries) {
      if (isDot(entry.name)) continue;
      const name = this.options.encoding === 'buffer' ? entry.name : entry.name.toString();
      const dirent = direntOf(entry, this.#folder, name);
      this.#ready.push(dirent);
      if (this.options.recursive && dirent.isDirectory())
        this.#later.push(posix.join(this.#folder, String(entry.name)));
    }
    return entries.length > 0 || this.#nextFolder();
  }

  async #nextFolder(): Promise<boolean> {
    const folder = this.#later.shift();
    if (folder === undefined || this.#fd === undefined) return false;
    await this.volume.close(this.#fd);
    this.#fd = undefined;
    this.#fd = await this.volume.open(folder, O.RDONLY | O.DIRECTORY, 0);
    this.#folder = folder;
    this.#position = 0n;
    return true;
  }

  async close(): Promise<void> {
    const fd = this.#fd;
    if (fd === undefined) throw Object.assign(new Error('Directory handle was closed'), { code: 'ERR_DIR_CLOSED' });
    this.#fd = undefined;
    await this.volume.close(fd);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Dirent> {
    try {
      for (let next = await this.read(); next; next = await this.read()) yield next;
    } finally {
      if (this.#fd !== undefined) await this.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#fd !== undefined) await this.close();
  }
}
