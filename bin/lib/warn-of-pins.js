/**
 * Prints a line for each pin of which it is not known that it was the newest in the last 60 days. That is no failure: the
 * tests say the same of the same commit every day. Needs no network.
 * @param {string} root of the repository
 */
export async function warnOfPins(root) {
  try {
    const { pinWarnings } = await import('../../scripts/pins/dist/warn.js');
    for (const line of await pinWarnings(root)) console.warn(`warning: ${line}`);
  } catch (error) {
    console.warn(`warning: the pins could not be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
