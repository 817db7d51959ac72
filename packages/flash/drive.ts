/** A drive, whatever system has found it. */
export interface Drive {
  /** The kernel's name, such as `sdb`. */
  readonly name: string;
  readonly path: string;
  /** The same drive without a cache, where that has a path of its own (macOS). */
  readonly rawPath?: string;
  /** Bytes. */
  readonly size: number;
  /** What the drive says it is; empty if it says nothing. */
  readonly model: string;
  /** Such as `USB` or `NVMe`. */
  readonly bus: string;
  readonly isRemovable: boolean;
  /** Places where it or one of its partitions is mounted. */
  readonly mounts: readonly string[];
  /** Why it must not be overwritten. Empty if nothing is known against it. */
  readonly refusals: readonly string[];
}
