/** npm-packlist has no types of its own. It takes a node of npm's dependency tree; these are the parts that it reads. */
declare module 'npm-packlist' {
  export interface PackageNode {
    readonly path: string;
    readonly package: object;
    readonly isProjectRoot: boolean;
    readonly edgesOut: ReadonlyMap<string, unknown>;
  }
  export default function packlist(node: PackageNode): Promise<string[]>;
}
