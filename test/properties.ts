/**
 * What the property tests (fast-check) draw is the same in every run, so that a test that passed fails only by what
 * was changed. NODEOS_SEED=N draws something else; a long hunt, over other seeds:
 *
 *     while NODEOS_SEED=$RANDOM npx vitest run --project unit packages/tree; do :; done
 *
 * A failure names its seed and the path to the smallest example.
 */
import { configureGlobal } from 'fast-check';

const seed = Number(process.env['NODEOS_SEED'] ?? 1);
if (!Number.isInteger(seed)) throw new Error(`NODEOS_SEED=${process.env['NODEOS_SEED']}: expected an integer`);
configureGlobal({ seed });
