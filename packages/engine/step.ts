/**
 * A step is a pure description of one thing to build: what goes in, and the function that makes the output. Only the
 * engine runs it. Its key is a hash over everything that goes in, so a step with a known key need not run again.
 */
import type { RunOptions, RunResult } from './run.js';
import type { Source } from './source.js';
import type { Target } from '@nodeos/targets';

export interface Step {
  /** Unique among the steps of a build; letters, digits, `-`. */
  readonly name: string;
  readonly target: Target;
  /** `import.meta.url` of the modules that `build` is made of; they and what they import are part of the key. */
  readonly recipe: string | readonly string[];
  /** Settings that the recipe reads: part of the key. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Pinned sources by name; fetched only when the recipe asks for one. */
  readonly sources?: Readonly<Record<string, Source>>;
  /** Files and folders of the host by name: their contents are part of the key, their places are not. */
  readonly files?: Readonly<Record<string, string>>;
  /** Host programs whose version changes the output. */
  readonly tools?: readonly string[];
  /** Outputs of other steps. */
  readonly inputs?: Readonly<Record<string, Step>>;
  build(context: StepContext): Promise<void>;
}

export interface StepContext {
  /** An empty folder; what is in it when `build` returns is the output. */
  readonly dir: string;
  /** A scratch folder, gone afterwards. */
  readonly work: string;
  readonly target: Target;
  /** Parallel jobs that the step may use. */
  readonly jobs: number;
  readonly signal: AbortSignal;
  /** The output folder of an input. Read it, never write to it. */
  input(name: string): string;
  /** The verified file of a source. */
  fetch(name: string): Promise<string>;
  /** The path of one of `files`. */
  file(name: string): string;
  /** Runs a program in the scratch folder with a clean environment; its output goes to the step's log. */
  run(command: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Says what is going on. */
  progress(message: string): void;
}
