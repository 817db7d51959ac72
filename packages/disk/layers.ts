/**
 * Prefixes of a SOURCE that open something inside it: `partition:2:disk.img`, `qcow2:https://…`. They are read from the
 * left; each applies to the rest.
 */
import { partition, qcow2, tarMember, vmdk, xz, zstd, type BlockBackend } from '@nodeos/block';
import { UsageError } from '@nodeos/base';

interface LayerKind {
  /** The syntax, for the help and for messages. */
  readonly form: string;
  /** Whether the layer passes writes to the source below it. */
  readonly writable: boolean;
  /** Returns the problem with the argument, if there is one. If absent, the layer takes no argument. */
  readonly problemOf?: (argument: string) => string | undefined;
  /**
   * Opens the layer; closing it closes `inner`. @throws an error that says why it cannot be opened; `inner` stays open
   * then
   */
  open(inner: BlockBackend, argument: string): Promise<BlockBackend>;
}

/** A partition number, and optionally the bytes of a logical sector. */
const PARTITION = /^([1-9]\d{0,4})(?:\/(512|4096))?$/;

const KINDS = {
  partition: {
    form: 'partition:N:SOURCE',
    writable: true,
    problemOf: (text) => (PARTITION.test(text) ? undefined : 'expected a number, such as partition:1:disk.img, or 1/4096 on a disk with sectors of 4096 bytes'), // prettier-ignore
    open(inner, text) {
      const [, number, sectorSize] = PARTITION.exec(text) ?? [];
      return partition(inner, Number(number), sectorSize === undefined ? {} : { sectorSize: Number(sectorSize) });
    },
  },
  tar: {
    form: 'tar:MEMBER:SOURCE',
    writable: false,
    problemOf: (text) => (text === '' ? 'expected the name of a file in it, such as tar:disk.img:box.ova' : undefined),
    open: tarMember,
  },
  qcow2: { form: 'qcow2:SOURCE', writable: false, open: (inner) => qcow2(inner) },
  vmdk: { form: 'vmdk:SOURCE', writable: false, open: (inner) => vmdk(inner) },
  xz: { form: 'xz:SOURCE', writable: false, open: (inner) => xz(inner) },
  zstd: { form: 'zstd:SOURCE', writable: false, open: (inner) => zstd(inner) },
} as const satisfies Readonly<Record<string, LayerKind>>;

export interface Layer {
  readonly kind: keyof typeof KINDS;
  /** Empty for layers without an argument. */
  readonly argument: string;
}

export interface Layered {
  readonly layers: readonly Layer[];
  /** The source at the bottom. */
  readonly source: string;
}

export const LAYER_FORMS: readonly string[] = Object.values(KINDS).map(({ form }) => form);

const kindOf = ({ kind }: Layer): LayerKind => KINDS[kind];

/** @throws UsageError if an argument is missing or wrong, or if the source is missing */
export function parseLayers(text: string): Layered {
  const [, name = '', remainder = ''] = /^([a-z0-9]+):(.*)$/s.exec(text) ?? [];
  if (!Object.hasOwn(KINDS, name)) return { layers: [], source: text };
  const kind = name as Layer['kind'];
  const { form, problemOf }: LayerKind = KINDS[kind];
  const [, argumentText, inner = ''] = problemOf ? (/^([^:]*):(.*)$/s.exec(remainder) ?? []) : ['', '', remainder];
  if (argumentText === undefined || inner === '') throw new UsageError(`${text}: expected ${form}`);
  const argument = decoded(argumentText, text);
  const problem = problemOf?.(argument);
  if (problem !== undefined) throw new UsageError(`${text}: ${problem}`);
  const { layers, source } = parseLayers(inner);
  return { layers: [{ kind, argument }, ...layers], source };
}

/** The text from which `parseLayers` makes the same layers. */
export const textOf = ({ layers, source }: Layered): string =>
  layers.reduceRight((inner, { kind, argument }) => {
    const { problemOf }: LayerKind = KINDS[kind];
    return `${kind}:${problemOf ? `${encoded(argument)}:` : ''}${inner}`;
  }, source);

/** Encoded as in a URI, so that a name may contain a colon: `%3A`. */
const encoded = (argument: string): string =>
  argument.replace(/[%:]/g, (character) => (character === ':' ? '%3A' : '%25'));

function decoded(argument: string, text: string): string {
  try {
    return decodeURIComponent(argument);
  } catch {
    throw new UsageError(`${text}: a % stands for a character as in a URI: %25 is the % itself`);
  }
}

export const canBeWrittenThrough = (layers: readonly Layer[]): boolean =>
  layers.every((layer) => kindOf(layer).writable);

/**
 * Opens the layers from the bottom up. @throws the error of the first layer that cannot be opened; everything is closed
 * then
 */
export async function openLayers(layers: readonly Layer[], bottom: BlockBackend): Promise<BlockBackend> {
  let device = bottom;
  for (const layer of layers.toReversed())
    try {
      device = await kindOf(layer).open(device, layer.argument);
    } catch (error) {
      await device.close();
      throw error;
    }
  return device;
}
