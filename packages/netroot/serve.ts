/**
 * Serves a machine's root filesystem over NBD. The image is computed from the steps' outputs and read on demand. It is
 * never written to disk.
 */
import { resolve } from 'node:path';
import { word } from '@nodeos/contract';
import { readOnly, regions, withClose, type BlockBackend } from '@nodeos/block';
import { erofs, type ErofsImage } from '@nodeos/fs';
import { formatUri, NbdServer, type Export, type ServerEvent } from '@nodeos/nbd';
import type { Tree } from '@nodeos/tree';
import { type Closer, closing } from '@nodeos/base';
import { closersOf, openTrace } from '@nodeos/disk';
import { openUpper } from './upper.js';

export interface StreamedRootOptions {
  /** The contents of the root: a tree, of which an EROFS image is made, or an image. It stays open. */
  readonly root: Tree | RootImage;
  /** The file that keeps changes. Without it, changes stay in the machine's memory. */
  readonly persist?: string | undefined;
  /** The file for a trace of all requests, as JSON lines. */
  readonly trace?: string | undefined;
  /**
   * The secret end of the exports' names, which the machine finds in its initramfs. The public start of the names is on
   * the kernel's and QEMU's command lines. Every program in the machine and every user of this host can read those and
   * connect.
   */
  readonly secret: string;
  /** The TLS key of the user `GUEST`, which the machine has too. Without it, all data is sent in the clear. */
  readonly key?: Uint8Array | undefined;
  readonly onEvent?: (event: ServerEvent) => void;
}

export interface RootImage {
  readonly device: BlockBackend;
  /** The kernel's name of its filesystem. */
  readonly filesystem: string;
}

export interface StreamedRoot {
  /** Words for the kernel command line. */
  readonly kernelArgs: readonly string[];
  /** Answers the machine's pending requests, then closes the server. */
  close(): Promise<void>;
}

/** Maximum number of bytes of inodes and small files that a machine reads ahead, whether it needs them or not. */
const READ_AHEAD = 16 << 20;

/** The TLS identity of the machine. */
export const GUEST = 'guest';

/** The public starts of the exports' names. */
const [ROOT, UPPER] = ['root-', 'upper-'];

/** The host's address in QEMU's user network. */
const HOST = '10.0.2.2';
const ADDRESS = 'ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off';

/**
 * Starts serving. @throws NodeosError if a file of the options cannot be used: locked by another machine, not writable,
 * …
 */
export async function serveRoot(options: StreamedRootOptions): Promise<StreamedRoot> {
  const { root, key, secret } = options;
  const image = 'device' in root ? { ...root, metadata: 0 } : await described(root);
  const closers: Closer[] = [];
  const close = <T>(work: Promise<T>): Promise<T> => closing(work, closers);
  try {
    const exports = await openExports(image, options, closers);
    const server = new NbdServer({
      // There is no list: clients have to know the names.
      exports: { find: (name) => exports.get(name) },
      ...(key && { tls: { required: true, psk: { find: (identity) => (identity === GUEST ? key : undefined) } } }),
      ...(options.onEvent && { onEvent: options.onEvent }),
    });
    closers.push(() => server.close());
    const { port } = new URL(await server.listen({ port: 0 }));
    const baseUri = formatUri({
      tls: key !== undefined,
      ...(key && { username: GUEST }),
      at: { host: HOST, port: Number(port) },
      export: '',
    });
    const readAhead = Math.min(image.metadata, READ_AHEAD);
    return {
      kernelArgs: [
        ...[ADDRESS, `root=${baseUri}/${ROOT}`, `rootfstype=${image.filesystem}`, word('readAhead', readAhead)],
        ...(exports.has(UPPER + secret) ? [word('upper', `${baseUri}/${UPPER}`)] : []),
      ],
      close: () => close(Promise.resolve()),
    };
  } catch (error) {
    return close(Promise.reject<StreamedRoot>(error as Error));
  }
}

async function described(tree: Tree): Promise<RootImage & Pick<ErofsImage, 'metadata'>> {
  const { size, regions: parts, metadata } = await erofs(tree, { tails: true });
  return { device: regions(parts, { size }), filesystem: 'erofs', metadata };
}

/** Opens the exports. Errors of the files appear here, before the machine starts. */
async function openExports(
  { device }: RootImage,
  { persist, trace, secret }: StreamedRootOptions,
  closers: Closer[],
): Promise<Map<string, Export>> {
  const upper = persist === undefined ? undefined : await openUpper(resolve(persist));
  if (upper) closers.push(...closersOf(upper, `--persist ${persist}`));
  const records = trace === undefined ? undefined : await openTrace(resolve(trace), persist ? [resolve(persist)] : []);
  if (records) closers.push(() => records.close());
  const root: Export = {
    description: 'the root filesystem',
    open: () => withClose(readOnly(device), () => undefined),
    ...(records && { view: records.view('root', device.size) }),
  };
  // The device outlives the connections to it.
  const changes = upper && { description: 'changes to it', open: () => withClose(upper, () => undefined) };
  return new Map([[ROOT + secret, root], ...(changes ? [[UPPER + secret, changes] as const] : [])]);
}
