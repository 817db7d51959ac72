/** npm-packlist has no types of its own. It takes a node of npm's dependency tree; these are the parts that it reads. */
declare module 'npm-packlist' {
  import type { EventEmitter } from 'node:events';
  import type { Stats } from 'node:fs';

  export interface PackageNode {
    readonly path: string;
    readonly package: object;
    readonly isProjectRoot: boolean;
    readonly edgesOut: ReadonlyMap<string, unknown>;
  }

  /** What ignore-walk, its base, tells of an entry of a folder. */
  export interface Visit {
    readonly st: Stats;
    readonly entry: string;
    /** The rules let it in as a file. */
    readonly file: boolean;
  }

  class Walker extends EventEmitter {
    constructor(tree: PackageNode, options?: object);
    /** The folder that is walked, and that of the package. */
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
