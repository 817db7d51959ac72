/** All formats, by name, and what they make of a system. */
import { UsageError } from '@nodeos/base';
import { artifact, type Artifact } from '@nodeos/engine';
import type { Target } from '@nodeos/targets';
import { compressed, compressedFiles, COMPRESSIONS } from './compress.js';
import { CONVERTED } from './convert.js';
import { FIRECRACKER } from './firecracker.js';
import type { Format, FormatParts } from './format.js';
import { MEDIA } from './media.js';
import { OCI } from './oci.js';
import { PXE } from './pxe.js';
import { QEMU } from './qemu.js';
import { RASPI } from './raspi.js';
import { TAR } from './tar.js';

export const FORMATS: readonly Format[] = [...MEDIA, RASPI, ...CONVERTED, TAR, OCI, PXE, FIRECRACKER, QEMU];

/** A format that was asked for, compressed or not. */
export interface ChosenFormat {
  /** As it was asked for: `disk.zst`. */
  readonly name: string;
  readonly format: Format;
  readonly compression?: (typeof COMPRESSIONS)[number];
}

/** Finds a format by its name, such as `disk` or `disk.zst`. @throws UsageError naming all of them */
export function formatOf(name: string): ChosenFormat {
  const [base = '', ending, ...more] = name.split('.');
  const format = FORMATS.find((row) => row.name === base);
  const compression = COMPRESSIONS.find((row) => row.ending === ending);
  if (!format || more.length > 0 || (ending !== undefined && !compression))
    throw new UsageError(`unknown format "${name}"`, {
      hint:
        `the formats are: ${FORMATS.map((row) => row.name).join(', ')}; ` +
        `and of those with one file also NAME.${COMPRESSIONS.map((row) => row.ending).join(' and NAME.')}`,
    });
  if (compression && format.isFolder)
    throw new UsageError(`${name}: ${base} is a folder of files, and only single files are compressed`);
  return { name, format, ...(compression ? { compression } : {}) };
}

/** What a format makes of a system. */
export interface Formatted extends ChosenFormat {
  readonly artifacts: readonly [Artifact, ...Artifact[]];
}

/** The formats for a target. */
export const formatsFor = ({ name }: Target): readonly Format[] =>
  FORMATS.filter(({ target }) => target === undefined || target === name);

/** Describes formats of one system. @returns a function that throws the errors of `formatOf` */
export function formatsOf(parts: FormatParts): (name: string) => Formatted {
  const made = new Map<string, Formatted>();
  const fileOf = (name: string): Artifact => make(name).artifacts[0];
  function make(name: string): Formatted {
    const known = made.get(name);
    if (known) return known;
    const chosen = formatOf(name);
    const { format, compression } = chosen;
    const { target } = parts.loaders;
    if (!formatsFor(target).includes(format))
      throw new UsageError(`${name}: there is no such format for ${target.name}`, {
        hint: `it is for --target ${format.target}`,
      });
    const step = compression ? compressed(format, compression, fileOf(format.name)) : format.build(parts, fileOf);
    const [first, ...others] = compression ? compressedFiles(format, compression) : format.files;
    const of = (file: string): Artifact => artifact(step, 'image', file);
    const formatted: Formatted = { ...chosen, artifacts: [of(first), ...others.map(of)] };
    made.set(name, formatted);
    return formatted;
  }
  return make;
}
