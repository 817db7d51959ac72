/**
 * A step is a pure description of one thing to build: its inputs and the function that makes the output. Only the
 * engine runs it. Its key is a hash over all its inputs, so a step with a known key need not run again.
 */
import type { RunOptions, RunResult } from './run.js';
import type { Source } from './source.js';
import type { Target } from '@nodeos/targets';

export interface Step {
  /** Unique among the steps of a build. Letters, digits and `-`. */
  readonly name: string;
  readonly target: Target;
  /** `import.meta.url` of the modules that implement `build`. These modules and their imports are part of the key. */
  readonly recipe: string | readonly string[];
  /** Settings that the recipe reads. They are part of the key. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Pinned sources by name. A source is fetched only when the recipe asks for it. */
  readonly sources?: Readonly<Record<string, Source>>;
  /** Files and folders of the host by name. Their contents are part of the key, their paths are not. */
  readonly files?: Readonly<Record<string, string>>;
  /** Host programs whose versions are part of the key, because the output may depend on them. */
  readonly tools?: readonly string[];
  /**
   * The output is not shared with other machines: it depends on this machine's tools, or takes longer to fetch than to
   * make. Other outputs are the same bits whatever the tools are, or equally good.
   */
  readonly isLocal?: boolean;
  /** Other steps whose outputs this step uses. */
  readonly inputs?: Readonly<Record<string, Step>>;
  build(context: StepContext): Promise<void>;
}

export interface StepContext {
  /** An empty folder. Its contents become the output when `build` returns. */
  readonly dir: string;
  /** A scratch folder, removed afterwards. */
  readonly work: string;
  readonly target: Target;
  /** Number of parallel jobs that the step may use. */
  readonly jobs: number;
  readonly signal: AbortSignal;
  /** The output folder of an input. Read it, never write to it. */
  input(name: string): string;
  /** Fetches a source. @returns the path of the verified file */
  fetch(name: string): Promise<string>;
  /** The path of one of `files`. */
  file(name: string): string;
  /** Runs a program in the scratch folder with a clean environment. Its output goes to the step's log. */
  run(command: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Reports what the step is doing. */
  progress(message: string): void;
}
