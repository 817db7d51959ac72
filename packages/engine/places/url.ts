/**
 * Files over HTTP(S). An interrupted download resumes where it stopped (RFC 9110, section 14: range requests). Proxies
 * come from the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).
 */
import { constants, createWriteStream } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, messageOf, NodeosError, formatSize } from '@nodeos/base';
import { httpRequest, type HttpResponse } from '@nodeos/base/http';
import type { UrlPlace } from '../source.js';
import type { FetchContext, PlaceKind } from './place-kind.js';
import { storageAdvice } from '../storage-advice.js';

const ATTEMPTS = 3;
const TIMEOUT_MS = 30_000;

export const url: PlaceKind = {
  matches: (place) => 'url' in place,
  describe: (place) => (place as UrlPlace).url,
  async download(place, path, context) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await attemptDownload((place as UrlPlace).url, path, context);
      } catch (error) {
        context.signal.throwIfAborted();
        if (attempt === ATTEMPTS || !isTransient(error)) throw error;
        context.progress(`${messageOf(error)}; trying again`);
        await sleep(500 * 2 ** attempt, undefined, { signal: context.signal });
      }
    }
  },
};

/** A refusal (404, 403, unknown host) is final. A broken connection may work on the next attempt. */
function isTransient(error: unknown): boolean {
  if (error instanceof HttpStatusError) return error.status >= 500 || error.status === 429;
  const code = codeOf(error) ?? codeOf((error as Error).cause);
  if (error instanceof NodeosError || storageAdvice(error) !== undefined) return false;
  return code !== 'ENOTFOUND' && code !== 'ECONNREFUSED' && code !== 'ERR_INVALID_URL';
}

class HttpStatusError extends NodeosError {
  constructor(readonly status: number) {
    super(`HTTP status ${status}`);
  }
}

/** The received bytes cannot belong to the file. */
class UnusablePartError extends NodeosError {}

async function attemptDownload(url: string, path: string, context: FetchContext): Promise<void> {
  const resumeFrom = (await stat(path).catch(() => undefined))?.size ?? 0;
  const headers: Record<string, string> = resumeFrom > 0 ? { range: `bytes=${resumeFrom}-` } : {};
  const { signal } = context;
  try {
    const response = await httpRequest(url, { headers, signal, timeout: TIMEOUT_MS });
    await receive(response, resumeFrom, path, context);
  } catch (error) {
    if (!(error instanceof UnusablePartError)) throw error;
    // The part is unusable. It may belong to another file, so start again from the beginning.
    await rm(path, { force: true });
    if (resumeFrom === 0) throw error;
    await attemptDownload(url, path, context);
  }
}

async function receive(response: HttpResponse, resumeFrom: number, path: string, context: FetchContext): Promise<void> {
  const { statusCode: status, headers } = response;
  if (status === 416 && resumeFrom > 0) {
    response.destroy(); // nothing is left to send; the checksum decides
    return;
  }
  if (status !== 200 && status !== 206) {
    response.destroy();
    throw new HttpStatusError(status);
  }
  const start = status === 206 ? resumeFrom : 0;
  const sent = /^bytes (\d+)-/.exec(String(headers['content-range']))?.[1];
  if (start > 0 && sent !== undefined && Number(sent) !== start) {
    response.destroy();
    throw new UnusablePartError(`the server sent bytes from ${sent} instead of from ${start}`);
  }
  const length = Number(headers['content-length'] ?? Number.NaN);
  const meter = limited(start, start + length, context);
  const file = createWriteStream(path, { fd: await open(path, start > 0 ? APPEND : TRUNCATE) });
  // Wait until the file is closed. If the download fails during open(2), the file could appear after its removal.
  const closed = new Promise<void>((resolve) => file.once('close', resolve));
  await pipeline(response, meter, file, { signal: context.signal }).finally(() => closed);
}

/** O_NOFOLLOW: never write through a symbolic link. */
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
const [APPEND, TRUNCATE] = [CREATE | constants.O_APPEND, CREATE | constants.O_TRUNC];

function limited(start: number, total: number, { maxBytes, progress }: FetchContext): Transform {
  let bytes = start;
  let lastReport = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) return done(new UnusablePartError(`longer than the ${maxBytes} bytes allowed for it`));
      if (Date.now() - lastReport > 500) {
        lastReport = Date.now();
        progress(`${formatSize(bytes)}${Number.isFinite(total) ? ` of ${formatSize(total)}` : ''}`);
      }
      done(null, chunk);
    },
  });
}
