/** Where built outputs can be had from other machines. Each kind of place has its own file in packages/remote. */

/** Names an output on any machine: the key has no versions of this machine's tools in it. */
export interface OutputId {
  readonly step: string;
  readonly target: string;
  /** 64 hexadecimal digits: `PlannedStep.sharedKey`. */
  readonly key: string;
}

export interface RemoteCache {
  /** Its URL, without secrets. It is shown to the user. */
  readonly name: string;
  /** @returns the signed manifest of an output as it lies there, not yet checked; undefined if it is not there */
  manifest(id: OutputId, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | undefined>;
  /** @returns the packed files of an output, not yet checked; undefined if they are not there */
  contents(id: OutputId, digest: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | undefined>;
  /** Stores an output. The contents come first, so that a manifest that is there has contents. */
  push?(id: OutputId, output: PackedOutput, signal: AbortSignal): Promise<void>;
}

export interface PackedOutput {
  /** The signed manifest. */
  readonly manifest: Uint8Array;
  /** The path of the packed files, their size in bytes and SHA-256. */
  readonly contents: { readonly path: string; readonly size: number; readonly sha256: string };
}
