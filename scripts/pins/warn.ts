/** What npm test says of the pins, without the network: which have not been looked at for long. */
import { readPins } from './pins.js';
import { readRecord, warnings } from './record.js';

/** @returns a line for each pin of which it is not known that it was the newest in the last 60 days */
export async function pinWarnings(root: string, now = new Date()): Promise<string[]> {
  return warnings(await readPins(root), await readRecord(root), now);
}
