/** The warnings of `npm test` about pins that were not checked for a long time. Needs no network. */
import { readPins } from './pins.js';
import { readRecord, warnings } from './record.js';

/** @returns a line for each pin that was not confirmed as the newest in the last 60 days */
export async function pinWarnings(root: string, now = new Date()): Promise<string[]> {
  return warnings(await readPins(root), await readRecord(root), now);
}
