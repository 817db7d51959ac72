/** What steps make, by name: layers declare it, the engine says where it is. */
import { join } from 'node:path';
import type { Step, StepContext } from './step.js';

/** What a file is, for whoever takes it. */
export type ArtifactKind = 'kernel' | 'initramfs' | 'image' | 'program' | 'file' | 'folder';

export interface Artifact<Kind extends ArtifactKind = ArtifactKind> {
  readonly step: Step;
  /** Below the step's output; empty: all of it. */
  readonly file: string;
  readonly kind: Kind;
}

export const artifact = <Kind extends ArtifactKind>(step: Step, kind: Kind, file = ''): Artifact<Kind> => ({
  step,
  file,
  kind,
});

/** Artifacts as the inputs of a step. Each is an input by its name. */
export const inputsOf = (artifacts: Readonly<Record<string, Artifact>>): Readonly<Record<string, Step>> =>
  Object.fromEntries(Object.entries(artifacts).map(([name, { step }]) => [name, step]));

/** The steps that make them, each once, in order. */
export const stepsOf = (...artifacts: readonly Artifact[]): Step[] => [...new Set(artifacts.map(({ step }) => step))];

/** Where an artifact is that is one of the inputs of a step. */
export const inputPath = (context: StepContext, name: string, { file }: Artifact): string =>
  join(context.input(name), file);
