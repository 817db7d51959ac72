/** The parts of a system. Initramfs archives, images and streamed roots are encodings of the same list of parts. */
import type { Artifact } from '@nodeos/engine';
import { concat, type Tree } from '@nodeos/tree';

export interface Part {
  /** Unique among the parts of a system; letters, digits, `-`. */
  readonly name: string;
  /** The artifact that the files are made from. */
  readonly artifact: Artifact;
  /**
   * `import.meta.url` of the module that implements `tree`. It is part of the key of every output made from the part.
   */
  readonly recipe: string;
  /** The part is worth compressing when it is stored separately. */
  readonly large?: boolean;
  /** The part's files, at their places in the root. @param path the path of the artifact */
  tree(path: string): Promise<Tree> | Tree;
}

/**
 * All files of a system.
 * @param pathOf returns the path of a part's artifact
 */
export async function rootTree(parts: readonly Part[], pathOf: (part: Part) => string): Promise<Tree> {
  const trees: Tree[] = [];
  for (const part of parts) trees.push(await part.tree(pathOf(part)));
  return concat(...trees);
}
