import { access } from 'node:fs/promises';

/** Whether the path exists. A symbolic link counts only if its target exists. */
export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
