/** What Node.js has from its libraries, asked in a guest. */
import { readFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { exec } from '../support.js';

export type Answers = Record<string, unknown>;

export const PROBE = new URL('probe.js', import.meta.url);
/** The folder that the probe uses. */
export const PROBED = '/tmp/probe';

export async function answersInGuest(...options: string[]): Promise<Answers> {
  const probe = await readFile(PROBE, 'utf8');
  const code = `import('data:text/javascript,' + ${JSON.stringify(encodeURIComponent(probe))})`;
  const { status, stdout, stderr } = await exec(code, ...options);
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as Answers;
}
