/** Named outputs of steps. Layers declare artifacts; the engine knows their paths. */
import { join } from 'node:path';
import type { Step, StepContext } from './step.js';

/** What a file is used as. */
export type ArtifactKind = 'kernel' | 'initramfs' | 'image' | 'program' | 'file' | 'folder';

export interface Artifact<Kind extends ArtifactKind = ArtifactKind> {
  readonly step: Step;
  /** The path relative to the step's output; empty for the whole output. */
  readonly file: string;
  readonly kind: Kind;
}

export const artifact = <Kind extends ArtifactKind>(step: Step, kind: Kind, file = ''): Artifact<Kind> => ({
  step,
  file,
  kind,
});

/** The steps that make the artifacts, without duplicates, in order. */
export const stepsOf = (...artifacts: readonly Artifact[]): Step[] => [...new Set(artifacts.map(({ step }) => step))];

/** The path of an artifact that is an input of the running step. */
export const inputPath = (context: StepContext, name: string, { file }: Artifact): string =>
  join(context.input(name), file);
