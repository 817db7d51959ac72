/** Disks as the exports of an NBD server. The sources stay open while the server runs. */
import { overlay, readOnly, temporaryOverlay, withClose, type BlockBackend, type MaybePromise } from '@nodeos/block';
import { type Closer, closing, messageOf, NodeosError } from '@nodeos/base';
import type { Export, ExportResolver } from '@nodeos/nbd';
import { canBeWritten, hintFor, openSource, pathBelow, type OpenOptions } from './open.js';
import { openTrace } from './trace-file.js';

export interface Wanted {
  readonly name: string;
  readonly source: string;
}

export interface ExportOptions extends Pick<OpenOptions, 'progress'> {
  readonly wanted: readonly Wanted[];
  readonly readOnly?: boolean;
  /** Writes go to this file. `each`: every connection gets its own overlay, which is discarded at its end. */
  readonly overlay?: string | undefined;
  readonly trace?: string | undefined;
  readonly description?: string | undefined;
  /** A single source does not also become the default export. */
  readonly onlyNamed?: boolean;
  /** Opens a source in place of `openSource`, for reading only. */
  readonly open?: (source: string) => Promise<BlockBackend>;
  readonly signal: AbortSignal;
}

export interface Opened extends Wanted, Pick<Export, 'view'> {
  readonly backend: BlockBackend;
  /** Each connection writes to its own overlay over the backend. */
  readonly isForEach: boolean;
}

/** The value of `--overlay` for an overlay per connection. A file of that name is written `./each`. */
export const EACH = 'each';

export interface OpenedExports {
  readonly list: readonly Opened[];
  readonly resolver: ExportResolver;
  /** Closes everything. All writes are durable afterwards. */
  close(): Promise<void>;
}

/** Opens all sources. @throws UsageError, NodeosError; in that case everything is closed again */
export async function openExports(options: ExportOptions): Promise<OpenedExports> {
  const closers: Closer[] = [];
  const close = <T>(work: Promise<T>): Promise<T> => closing(work, closers);
  try {
    const records = options.trace === undefined ? undefined : await openTrace(options.trace, pathsOf(options));
    if (records) closers.push(() => records.close());
    const list: Opened[] = [];
    for (const wanted of options.wanted) {
      const device = await openOne(wanted, options);
      closers.push(...closersOf(device, wanted.source));
      const view = records?.view(wanted.name, device.size);
      list.push({ ...wanted, backend: device, isForEach: options.overlay === EACH, ...(view && { view }) });
    }
    return { list, resolver: resolverOf(list, options), close: () => close(Promise.resolve()) };
  } catch (error) {
    return close(Promise.reject<OpenedExports>(error as Error));
  }
}

/** The local files that the exports use. */
const pathsOf = ({ wanted, open, overlay: path }: ExportOptions): string[] =>
  [...(open ? [] : wanted.map(({ source }) => pathBelow(source))), path === EACH ? undefined : path].filter(
    (path) => path !== undefined,
  );

async function openOne({ source }: Wanted, options: ExportOptions): Promise<BlockBackend> {
  const { overlay: path, signal, progress } = options;
  const write = !options.readOnly && path === undefined;
  const base = options.open
    ? await options.open(source)
    : await openSource(source, {
        write: write && canBeWritten(source),
        cached: true,
        signal,
        ...(progress && { progress }),
      });
  if (path === EACH) return readOnly(base);
  if (path !== undefined) return openOverlay(base, path);
  return options.readOnly ? readOnly(base) : base;
}

async function openOverlay(base: BlockBackend, path: string): Promise<BlockBackend> {
  try {
    return await overlay(readOnly(base), path, { identity: base.version });
  } catch (error) {
    await base.close();
    throw new NodeosError(`--overlay ${path}: ${messageOf(error)}`, { ...hintFor(error, path), cause: error });
  }
}

/**
 * Functions that flush and close the device. Called from the last to the first, they make the writes of a client that
 * left without a flush durable.
 */
export function closersOf(device: BlockBackend, source: string): Closer[] {
  const flush = async (): Promise<void> => {
    try {
      await device.flush?.();
    } catch (error) {
      // The cause is left out, so that this message appears even if the cause is an interruption.
      throw new NodeosError(`${source}: what was written last may be lost: ${messageOf(error)}`);
    }
  };
  return [() => device.close(), flush];
}

/**
 * Finds exports by name. The devices outlive the connections. A single source is also the default export. With
 * `onlyNamed`, the exports have secret names, so they are not listed.
 */
function resolverOf(list: readonly Opened[], { description, onlyNamed = false }: ExportOptions): ExportResolver {
  const details = description === undefined ? {} : { description };
  const exports = new Map(
    list.map(({ name, backend, isForEach, view }): [string, Export] => {
      const open = (): MaybePromise<BlockBackend> =>
        isForEach ? temporaryOverlay(backend) : withClose(backend, () => undefined);
      return [name, { ...details, shared: !isForEach, open, ...(view && { view }) }];
    }),
  );
  const [defaultExport] = list.length === 1 && !onlyNamed ? exports.values() : [];
  return {
    ...(onlyNamed ? {} : { list: () => [...exports.keys()].map((name) => ({ name, ...details })) }),
    find: (name): Export | undefined => exports.get(name) ?? (name === '' ? defaultExport : undefined),
  };
}
