/** What formats have in common: images that are described, and filesystems in images that are read. */
import type { Region } from '@nodeos/block';
import type { Tree } from '@nodeos/tree';

/** The description of an image that need not be written. */
export interface Image {
  readonly regions: readonly Region[];
  /** Bytes. */
  readonly size: number;
}

/** A range of bytes in an image. */
export interface Place {
  readonly offset: number;
  readonly length: number;
}

/** What is left of places after their first `skip` bytes. */
export function placesFrom(places: readonly Place[], skip: number): Place[] {
  const left: Place[] = [];
  for (const { offset, length } of places) {
    const passed = Math.min(skip, length);
    skip -= passed;
    if (passed < length) left.push({ offset: offset + passed, length: length - passed });
  }
  return left;
}

/** A filesystem in an image. The image is not trusted: whatever is wrong in it is an error with the code EINVAL. */
export interface ImageReader {
  /** Such as `fat32` or `iso9660`. */
  readonly format: string;
  /** The label of the volume; empty if it has none. */
  readonly label: string;
  /**
   * All files. A folder comes before what is in it. Paths are safe to extract: they have no empty, `.` or `..` parts.
   * The content of an entry is read when it is opened.
   */
  entries(): Tree;
}
