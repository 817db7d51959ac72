/**
 * Prints a line for each pin that was not confirmed as the newest in the last 60 days. This is not a failure, because
 * the result of the tests must not depend on the date. Needs no network.
 * @param {string} root the repository's folder
 */
export async function warnOfPins(root) {
  try {
    const { pinWarnings } = await import('../../scripts/pins/dist/warn.js');
    for (const line of await pinWarnings(root)) console.warn(`warning: ${line}`);
  } catch (error) {
    console.warn(`warning: the pins could not be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
