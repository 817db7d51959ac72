import { access } from 'node:fs/promises';

/** Whether there is anything at the path; a symbolic link counts if it leads to something. */
export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
