/**
 * The table of the system packages that building needs. It is plain JavaScript, because a fresh clone reads it before
 * anything is compiled.
 */

export interface Probe {
  /** All must be in PATH, or in the folders of `alsoIn`. */
  readonly commands?: readonly string[];
  readonly alsoIn?: readonly string[];
  /** A file below one of the compiler's include folders. */
  readonly header?: string;
  /** One of them must be below a folder of shared data. */
  readonly shared?: readonly string[];
}

export interface Need {
  readonly need: string;
  readonly why: string;
  readonly probe: Probe;
  /** What needs it, if it is not the command itself. */
  readonly only?: string;
  /** Why there is no package for macOS, or for one of the other systems. */
  readonly brewNote?: string;
  readonly absent?: string;
}

export interface Manager {
  readonly command: string;
  readonly root: boolean;
}

export interface HostPackages {
  readonly NEEDS: readonly Need[];
  missing(needs: readonly Need[], isMet: (probe: Probe) => boolean): readonly Need[];
  systemIds(osRelease: string | undefined, platform: string): string[];
  managerFor(ids: readonly string[]): Manager | undefined;
  plan(
    manager: Manager,
    needs: readonly Need[],
    prefix: readonly string[],
  ): { readonly installable: readonly Need[]; readonly commands: readonly (readonly string[])[] };
  shellLine(argv: readonly string[]): string;
}

/** The one place that knows where the table lies. */
const TABLE = new URL('../../../../bin/lib/host-packages.js', import.meta.url);

export const hostPackages = async (): Promise<HostPackages> => (await import(TABLE.href)) as HostPackages;
