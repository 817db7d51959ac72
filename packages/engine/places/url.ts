/**
 * Files over HTTP(S). An interrupted download resumes where it stopped (RFC 9110, section 14: range requests). Proxies
 * come from the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).
 */
import { constants, createWriteStream } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher, request as Request } from 'undici';
import { codeOf, messageOf, NodeosError, formatSize } from '@nodeos/base';
import type { UrlPlace } from '../source.js';
import type { FetchContext, PlaceKind } from './place-kind.js';
import { storageAdvice } from '../storage-advice.js';

const ATTEMPTS = 3;
const MAX_REDIRECTS = 5;
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

async function attemptDownload(firstUrl: string, path: string, context: FetchContext): Promise<void> {
  const resumeFrom = (await stat(path).catch(() => undefined))?.size ?? 0;
  const { EnvHttpProxyAgent } = await import('undici');
  const dispatcher = new EnvHttpProxyAgent({
    connectTimeout: TIMEOUT_MS,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  });
  try {
    await receive(await followRedirects(firstUrl, resumeFrom, dispatcher, context.signal), resumeFrom, path, context);
  } catch (error) {
    if (!(error instanceof UnusablePartError)) throw error;
    // The part is unusable. It may belong to another file, so start again from the beginning.
    await rm(path, { force: true });
    if (resumeFrom === 0) throw error;
    await attemptDownload(firstUrl, path, context);
  } finally {
    await dispatcher.destroy();
  }
}

async function receive(response: Response, resumeFrom: number, path: string, context: FetchContext): Promise<void> {
  const { statusCode: status, headers, body } = response;
  if (status === 416 && resumeFrom > 0) {
    await body.dump(); // nothing is left to send; the checksum decides
    return;
  }
  if (status !== 200 && status !== 206) {
    await body.dump();
    throw new HttpStatusError(status);
  }
  const start = status === 206 ? resumeFrom : 0;
  const sent = /^bytes (\d+)-/.exec(String(headers['content-range']))?.[1];
  if (start > 0 && sent !== undefined && Number(sent) !== start) {
    await body.dump();
    throw new UnusablePartError(`the server sent bytes from ${sent} instead of from ${start}`);
  }
  const length = Number(headers['content-length'] ?? Number.NaN);
  const meter = limited(start, start + length, context);
  const file = createWriteStream(path, { fd: await open(path, start > 0 ? APPEND : TRUNCATE) });
  // Wait until the file is closed. If the download fails during open(2), the file could appear after its removal.
  const closed = new Promise<void>((resolve) => file.once('close', resolve));
  await pipeline(body, meter, file, { signal: context.signal }).finally(() => closed);
}

/** O_NOFOLLOW: never write through a symbolic link. */
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
const [APPEND, TRUNCATE] = [CREATE | constants.O_APPEND, CREATE | constants.O_TRUNC];

type Response = Awaited<ReturnType<typeof Request>>;

async function followRedirects(
  firstUrl: string,
  resumeFrom: number,
  dispatcher: Dispatcher,
  signal: AbortSignal,
): Promise<Response> {
  const { request } = await import('undici');
  let location = firstUrl;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const headers: Record<string, string> = resumeFrom > 0 ? { range: `bytes=${resumeFrom}-` } : {};
    const response = await request(location, { dispatcher, headers, signal });
    const next = response.headers['location'];
    if (response.statusCode < 300 || response.statusCode >= 400 || typeof next !== 'string') return response;
    await response.body.dump();
    location = new URL(next, location).href;
    // A redirect must not lead to a local file or to another protocol.
    if (!/^https?:/.test(location)) throw new NodeosError(`redirected to ${location}, which is not HTTP`);
  }
  throw new NodeosError(`more than ${MAX_REDIRECTS} redirects`);
}

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
