/** npm-packlist has no types. It takes a node of npm's dependency tree. These types declare the parts that it reads. */
declare module 'npm-packlist' {
  import type { EventEmitter } from 'node:events';
  import type { Stats } from 'node:fs';

  export interface PackageNode {
    readonly path: string;
    readonly package: object;
    readonly isProjectRoot: boolean;
    readonly edgesOut: ReadonlyMap<string, unknown>;
  }

  /** What ignore-walk, the base class, passes for an entry of a folder. */
  export interface Visit {
    readonly st: Stats;
    readonly entry: string;
    /** The ignore rules admit the entry as a file. */
    readonly file: boolean;
  }

  class Walker extends EventEmitter {
    constructor(tree: PackageNode, options?: object);
    /** The folder being walked. `root` is the package's folder. */
    readonly path: string;
    readonly root: string;
    readonly tree: PackageNode;
    start(): this;
    onstat(visit: Visit, done: () => void): unknown;
    stat(visit: Pick<Visit, 'entry' | 'file'>, done: () => void): unknown;
    walker(entry: string, options: object, done: () => void): void;
    walkerOpt(entry: string, options: object): object;
  }
  const packlist: { readonly Walker: typeof Walker };
  export default packlist;
}
