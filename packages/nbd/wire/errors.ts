/** Errors besides protocol errors. Their codes, not their messages, tell callers what happened. */
import { failure } from '@nodeos/block';

/** A connection that was lost or could not be established completely. */
export const connectionLost = (message: string, cause?: unknown): Error => failure('ECONNRESET', message, cause);

/** The server is shutting down and accepts nothing new. */
export const shutDownError = (): Error => failure('ESHUTDOWN', 'the server is being shut down');
