/** Puts files of other steps into a format's folder, so that they are found beside each other. */
import { constants } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inputPath, type Artifact, type Step, type StepContext } from '@nodeos/engine';

/** The files of a folder that come from other steps, by the names that they get there. */
export type Copies = Readonly<Record<string, Artifact>>;

export const inputsOf = (copies: Copies): Record<string, Step> =>
  Object.fromEntries(Object.entries(copies).map(([name, { step }]) => [name, step]));

export async function copyInto(context: StepContext, copies: Copies): Promise<void> {
  for (const [name, from] of Object.entries(copies))
    await copyFile(inputPath(context, name, from), join(context.dir, name), constants.COPYFILE_FICLONE);
}
