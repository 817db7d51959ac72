/** What fails beside the protocol, with a code: callers tell one from the other by it, and not by the words. */
import { failure } from '@nodeos/block';

/** A way to the peer that is no more, or has never been whole. */
export const lost = (words: string, cause?: unknown): Error => failure('ECONNRESET', words, cause);

/** The server ends: what is asked now would find nobody. */
export const shutDown = (): Error => failure('ESHUTDOWN', 'the server is being shut down');
