/** One file, changed at random offsets in every way there is, is what a buffer says (after xfstests' fsx). */
import { file, random } from '@nodeos/block';
import { open, type FileHandle, type MountedFilesystem } from '@nodeos/linuxfs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LONG, temporary } from '../support.js';
import { builtKernel, checked, emptyDisk } from './disks.js';

const SEED = Number(process.env['NODEOS_SEED'] ?? 1);
const STEPS = Number(process.env['NODEOS_STEPS'] ?? 400);
const MOST = 1_500_000;

/** fallocate(2): `FALLOC_FL_*`. */
const [KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO, INSERT] = [1, 2, 8, 16, 32] as const;
const BLOCK = 4096;

/** What a step does to the file, and to the buffer that says what is in it. */
type Step = (at: number, length: number, byte: number) => Promise<void>;

class Exerciser {
  model = Buffer.alloc(0);
  readonly log: string[] = [];

  constructor(
    private readonly mounted: MountedFilesystem,
    public handle: FileHandle,
  ) {}

  readonly steps: Readonly<Record<string, Step>> = {
    write: async (at, length, byte) => {
      const bytes = Buffer.alloc(length, byte);
      await this.handle.write(bytes, 0, length, at);
      this.#grow(at + length);
      bytes.copy(this.model, at);
    },
    writev: async (at, length, byte) => {
      const parts = [Buffer.alloc(length, byte), Buffer.alloc(7, byte + 1), Buffer.alloc(length >> 1, byte + 2)];
      await this.handle.writev(parts, at);
      const bytes = Buffer.concat(parts);
      this.#grow(at + bytes.length);
      bytes.copy(this.model, at);
    },
    truncate: async (at) => {
      await this.handle.truncate(at);
      this.model = at < this.model.length ? Buffer.from(this.model.subarray(0, at)) : this.model;
      this.#grow(at);
    },
    punch: async (at, length) => {
      await this.#allocate(at, length, PUNCH_HOLE | KEEP_SIZE);
      this.model.fill(0, at, Math.min(at + length, this.model.length));
    },
    zero: async (at, length) => {
      await this.#allocate(at, length, ZERO);
      this.#grow(at + length);
      this.model.fill(0, at, at + length);
    },
    allocate: async (at, length) => {
      await this.#allocate(at, length, 0);
      this.#grow(at + length);
    },
    collapse: async (at, length) => {
      const [from, size] = [at - (at % BLOCK), BLOCK + length - (length % BLOCK)];
      if (from + size >= this.model.length) return;
      await this.#allocate(from, size, COLLAPSE);
      this.model = Buffer.concat([this.model.subarray(0, from), this.model.subarray(from + size)]);
    },
    insert: async (at, length) => {
      const [from, size] = [at - (at % BLOCK), BLOCK + length - (length % BLOCK)];
      if (from >= this.model.length || this.model.length + size > MOST) return;
      await this.#allocate(from, size, INSERT);
      this.model = Buffer.concat([this.model.subarray(0, from), Buffer.alloc(size), this.model.subarray(from)]);
    },
    copy: async (at, length) => {
      const to = (at * 7) % MOST;
      const size = Math.min(length, Math.abs(to - at), this.model.length - at); // ranges of one file may not overlap
      if (size <= 0) return;
      const { fd } = this.handle;
      for (let done = 0; done < size;)
        done += await this.mounted.volume.copyRange(fd, at + done, fd, to + done, size - done);
      const bytes = Buffer.from(this.model.subarray(at, at + size));
      this.#grow(to + size);
      bytes.copy(this.model, to);
    },
    read: async (at, length) => {
      const into = Buffer.alloc(length);
      const { bytesRead } = await this.handle.read(into, 0, length, at);
      const wanted = this.model.subarray(at, at + length);
      expect(bytesRead).toBe(wanted.length);
      expect(into.subarray(0, bytesRead).equals(wanted)).toBe(true);
    },
    holes: async (at) => {
      if (at >= this.model.length) return;
      const { volume } = this.mounted;
      const hole = await volume.seek(this.handle.fd, at, 'hole');
      expect(hole).toBeLessThanOrEqual(this.model.length);
      const data = await volume.seek(this.handle.fd, at, 'data').catch(() => this.model.length);
      expect(this.model.subarray(at, data).every((byte) => byte === 0)).toBe(true);
    },
    reopen: async () => {
      await this.handle.sync();
      await this.handle.close();
      this.handle = await this.mounted.promises.open('/file', 'r+');
    },
  };

  async check(): Promise<void> {
    expect((await this.handle.stat()).size).toBe(this.model.length);
    expect((await this.mounted.promises.readFile('/file')).equals(this.model)).toBe(true);
  }

  #allocate(at: number, length: number, mode: number): Promise<void> {
    return this.mounted.volume.allocate(this.handle.fd, at, length, mode);
  }

  #grow(size: number): void {
    if (size > this.model.length) this.model = Buffer.concat([this.model, Buffer.alloc(size - this.model.length)]);
  }
}

/** What a filesystem cannot do gives EOPNOTSUPP or EINVAL, and changes nothing. */
const CANNOT: Readonly<Record<string, readonly string[]>> = {
  btrfs: ['collapse', 'insert'],
  vfat: ['punch', 'zero', 'collapse', 'insert'],
  exfat: ['punch', 'zero', 'allocate', 'collapse', 'insert'],
};
/** Those without holes have data everywhere. */
const WITHOUT_HOLES = ['vfat', 'exfat'];

describe.each(['ext4', 'xfs', 'btrfs', 'f2fs', 'vfat', 'exfat'])('%s', (type) => {
  it(`has after ${STEPS} steps what a buffer has`, { timeout: LONG }, async () => {
    const image = emptyDisk(await temporary(), type);
    const disk = await open(await file(image), { kernel: await builtKernel() });
    onTestFinished(() => disk.close().catch(() => undefined));
    const mounted = await disk.mount();
    const one = new Exerciser(mounted, await mounted.promises.open('/file', 'w+'));
    const next = random(SEED);
    const names = Object.keys(one.steps).filter((name) => !CANNOT[type]?.includes(name));
    if (WITHOUT_HOLES.includes(type)) names.splice(names.indexOf('holes'), 1);
    for (let step = 0; step < STEPS; step++) {
      const name = names[Math.floor(next() * names.length)] ?? '';
      const [at, length] = [Math.floor(next() ** 2 * 1_000_000), 1 + Math.floor(next() ** 3 * 200_000)];
      one.log.push(`${name} ${at} ${length}`);
      try {
        await one.steps[name]?.(at, length, 1 + (step % 250));
        if (step % 20 === 0) await one.check();
      } catch (error) {
        throw new Error(`after:\n${one.log.slice(-25).join('\n')}`, { cause: error });
      }
    }
    for (const name of CANNOT[type] ?? [])
      await expect(one.steps[name]?.(0, 5000, 1), name).rejects.toMatchObject({
        code: expect.stringMatching(/^(EOPNOTSUPP|ENOTSUP|EINVAL)$/) as string,
      });
    await one.check();
    await one.handle.close();
    await mounted.unmount();
    const again = await disk.mount();
    expect((await again.promises.readFile('/file')).equals(one.model)).toBe(true);
    await disk.close();
    expect(checked(image, type)).toMatchObject({ status: 0 });
  });
});
