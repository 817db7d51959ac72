/**
 * A machine's root filesystem served to it over NBD: an image that is described from what the steps have made, and
 * read by the machine as it needs it. Nothing of it is written.
 */
import { resolve } from 'node:path';
import { word } from '@nodeos/contract';
import { readOnly, regions, withClose } from '@nodeos/block';
import { erofs, type ErofsImage } from '@nodeos/fs';
import { formatUri, NbdServer, type Export, type ServerEvent } from '@nodeos/nbd';
import type { Tree } from '@nodeos/tree';
import { type Closer, closing } from '@nodeos/base';
import { closersOf } from './nbd/exports.js';
import { openTrace } from '@nodeos/disk';
import { openUpper } from './upper.js';

export interface StreamedRootOptions {
  /** What is in the root. */
  readonly tree: Tree;
  /** Changes are kept in this file; else in the machine's memory. */
  readonly persist?: string | undefined;
  /** Who reads what when: lines of JSON. */
  readonly trace?: string | undefined;
  /**
   * The end of the exports' names, which the machine has in its initramfs. The start of them is on its command line, and
   * on QEMU's: every program of the machine and every user of this host can read those, and connect.
   */
  readonly secret: string;
  /** Of TLS, that the machine has too, for `GUEST`; without one everything is sent in the clear. */
  readonly key?: Uint8Array | undefined;
  readonly onEvent?: (event: ServerEvent) => void;
}

export interface StreamedRoot {
  /** For the kernel's command line. */
  readonly words: readonly string[];
  /** What the machine still asks for is answered before. */
  close(): Promise<void>;
}

/** Bytes of inodes and small files that a machine asks for at once, whether it will need them or not. */
const READ_AHEAD = 16 << 20;

/** Whose key it is. */
export const GUEST = 'guest';

/** How the names begin. */
const [ROOT, UPPER] = ['root-', 'upper-'];

/** The host, as a machine sees it that QEMU gives a network of its own. */
const HOST = '10.0.2.2';
const ADDRESS = 'ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off';

/** @throws NodeosError if a file of the options cannot be used: another machine has it, nobody may write there, … */
export async function serveRoot(options: StreamedRootOptions): Promise<StreamedRoot> {
  const { tree, key, secret } = options;
  const image = await erofs(tree, { tails: true });
  const closers: Closer[] = [];
  const close = <T>(work: Promise<T>): Promise<T> => closing(work, closers);
  try {
    const exports = await openExports(image, options, closers);
    const server = new NbdServer({
      // No list.
      exports: { find: (name) => exports.get(name) },
      ...(key && { tls: { required: true, psk: { find: (identity) => (identity === GUEST ? key : undefined) } } }),
      ...(options.onEvent && { onEvent: options.onEvent }),
    });
    closers.push(() => server.close());
    const { port } = new URL(await server.listen({ port: 0 }));
    const at = formatUri({
      tls: key !== undefined,
      ...(key && { username: GUEST }),
      at: { host: HOST, port: Number(port) },
      export: '',
    });
    const readAhead = Math.min(image.metadata, READ_AHEAD);
    return {
      words: [
        ...[ADDRESS, `root=${at}/${ROOT}`, 'rootfstype=erofs', word('readAhead', readAhead)],
        ...(exports.has(UPPER + secret) ? [word('upper', `${at}/${UPPER}`)] : []),
      ],
      close: () => close(Promise.resolve()),
    };
  } catch (error) {
    return close(Promise.reject<StreamedRoot>(error as Error));
  }
}

/** What is wrong with the files is said here, before the machine starts. */
async function openExports(
  { size, regions: parts }: ErofsImage,
  { persist, trace, secret }: StreamedRootOptions,
  closers: Closer[],
): Promise<Map<string, Export>> {
  const upper = persist === undefined ? undefined : await openUpper(resolve(persist));
  if (upper) closers.push(...closersOf(upper, `--persist ${persist}`));
  const records = trace === undefined ? undefined : await openTrace(resolve(trace), persist ? [resolve(persist)] : []);
  if (records) closers.push(() => records.close());
  const root: Export = {
    description: 'the root filesystem',
    open: () => readOnly(regions(parts, { size })),
    ...(records && { view: records.view('root', size) }),
  };
  // It outlives the connections to it.
  const changes = upper && { description: 'changes to it', open: () => withClose(upper, () => undefined) };
  return new Map([[ROOT + secret, root], ...(changes ? [[UPPER + secret, changes] as const] : [])]);
}
