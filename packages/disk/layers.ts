/**
 * What may stand in front of a SOURCE, for what lies within it: `partition:2:disk.img`, `qcow2:https://…`. They are read
 * from the left, each for what follows it.
 */
import { partition, qcow2, tarMember, vmdk, xz, zstd, type BlockBackend } from '@nodeos/block';
import { UsageError } from '@nodeos/base';

interface LayerKind {
  /** For the help and for messages. */
  readonly form: string;
  /** What can be written below it can be written through it. */
  readonly writable: boolean;
  /** Why the argument is none; absent: it takes none. */
  readonly whyNot?: (argument: string) => string | undefined;
  /** Closes `inner` with it. @throws what says why it cannot be opened; `inner` is open still */
  open(inner: BlockBackend, argument: string): Promise<BlockBackend>;
}

/** A number, and bytes of a logical sector. */
const PARTITION = /^([1-9]\d{0,4})(?:\/(512|4096))?$/;

const KINDS = {
  partition: {
    form: 'partition:N:SOURCE',
    writable: true,
    whyNot: (text) => (PARTITION.test(text) ? undefined : 'expected a number, such as partition:1:disk.img, or 1/4096 on a disk with sectors of 4096 bytes'), // prettier-ignore
    open(inner, text) {
      const [, number, sectorSize] = PARTITION.exec(text) ?? [];
      return partition(inner, Number(number), sectorSize === undefined ? {} : { sectorSize: Number(sectorSize) });
    },
  },
  tar: {
    form: 'tar:MEMBER:SOURCE',
    writable: false,
    whyNot: (text) => (text === '' ? 'expected the name of a file in it, such as tar:disk.img:box.ova' : undefined),
    open: tarMember,
  },
  qcow2: { form: 'qcow2:SOURCE', writable: false, open: (inner) => qcow2(inner) },
  vmdk: { form: 'vmdk:SOURCE', writable: false, open: (inner) => vmdk(inner) },
  xz: { form: 'xz:SOURCE', writable: false, open: (inner) => xz(inner) },
  zstd: { form: 'zstd:SOURCE', writable: false, open: (inner) => zstd(inner) },
} as const satisfies Readonly<Record<string, LayerKind>>;

export interface Layer {
  readonly kind: keyof typeof KINDS;
  /** Empty for those that take none. */
  readonly argument: string;
}

export interface Layered {
  readonly layers: readonly Layer[];
  /** What is at the bottom. */
  readonly source: string;
}

export const LAYER_FORMS: readonly string[] = Object.values(KINDS).map(({ form }) => form);

const kindOf = ({ kind }: Layer): LayerKind => KINDS[kind];

/** @throws UsageError for an argument that is missing or wrong, and for layers of nothing */
export function parseLayers(text: string): Layered {
  const [, name = '', rest = ''] = /^([a-z0-9]+):(.*)$/s.exec(text) ?? [];
  if (!Object.hasOwn(KINDS, name)) return { layers: [], source: text };
  const kind = name as Layer['kind'];
  const { form, whyNot }: LayerKind = KINDS[kind];
  const [, given, inner = ''] = whyNot ? (/^([^:]*):(.*)$/s.exec(rest) ?? []) : ['', '', rest];
  if (given === undefined || inner === '') throw new UsageError(`${text}: expected ${form}`);
  const argument = decoded(given, text);
  const wrong = whyNot?.(argument);
  if (wrong !== undefined) throw new UsageError(`${text}: ${wrong}`);
  const { layers, source } = parseLayers(inner);
  return { layers: [{ kind, argument }, ...layers], source };
}

/** What `parseLayers` makes the same of. */
export const textOf = ({ layers, source }: Layered): string =>
  layers.reduceRight((inner, { kind, argument }) => {
    const { whyNot }: LayerKind = KINDS[kind];
    return `${kind}:${whyNot ? `${encoded(argument)}:` : ''}${inner}`;
  }, source);

/** As in a URI, so that a name may have a colon in it: `%3A`. */
const encoded = (argument: string): string => argument.replace(/[%:]/g, (one) => (one === ':' ? '%3A' : '%25'));

function decoded(argument: string, text: string): string {
  try {
    return decodeURIComponent(argument);
  } catch {
    throw new UsageError(`${text}: a % stands for a character as in a URI: %25 is the % itself`);
  }
}

export const canBeWrittenThrough = (layers: readonly Layer[]): boolean =>
  layers.every((layer) => kindOf(layer).writable);

/** Opens them one upon the other. @throws what the first one that cannot be opened says; all is closed then */
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
