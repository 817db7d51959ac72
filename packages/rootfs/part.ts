/** What a system is made of. Archives of an initramfs, images and streamed roots are encodings of the same list of parts. */
import type { Artifact } from '@nodeos/engine';
import { concat, type Tree } from '@nodeos/tree';

export interface Part {
  /** Unique among the parts of a system; letters, digits, `-`. */
  readonly name: string;
  /** What its files are made from. */
  readonly artifact: Artifact;
  /** `import.meta.url` of the module that has `tree`: part of the key of what is made of it. */
  readonly recipe: string;
  /** It is worth being compressed where a part is stored by itself. */
  readonly large?: boolean;
  /** Its files, in the places that they have in the root. @param path where the artifact is */
  tree(path: string): Promise<Tree> | Tree;
}

/**
 * All the files of a system.
 * @param pathOf where a part's artifact is
 */
export async function rootTree(parts: readonly Part[], pathOf: (part: Part) => string): Promise<Tree> {
  const trees: Tree[] = [];
  for (const part of parts) trees.push(await part.tree(pathOf(part)));
  return concat(...trees);
}
