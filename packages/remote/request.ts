/** Requests to remote caches, and what their answers mean. */
import { collected, NodeosError } from '@nodeos/base';
import { httpRequest, type HttpRequest, type HttpResponse } from '@nodeos/base/http';

/** Silence is ended by the caller's signal; this is for a caller without one. */
const TIMEOUT_MS = 60_000;

export type Request = Omit<HttpRequest, 'timeout'>;

/** @throws the errors of `httpRequest` */
export const request = (url: URL | string, options: Request): Promise<HttpResponse> =>
  httpRequest(url, { timeout: TIMEOUT_MS, ...options });

export const isSuccess = ({ statusCode }: HttpResponse): boolean => statusCode >= 200 && statusCode < 300;

/** @returns undefined if it is not there. @throws NodeosError for any other answer than success */
export function bodyOf(response: HttpResponse): AsyncIterable<Uint8Array> | undefined {
  if (isSuccess(response)) return response;
  response.destroy();
  if (response.statusCode === 404) return undefined;
  throw new NodeosError(`HTTP status ${response.statusCode}`);
}

/** Reads a small answer. @throws NodeosError if it is longer than `most` bytes, or no success */
export async function textOf(response: HttpResponse, most: number): Promise<string> {
  const body = bodyOf(response);
  if (!body) throw new NodeosError('HTTP status 404');
  const tooLong = (): Error => new NodeosError(`the answer is longer than ${most} bytes`);
  return (await collected(body, most, tooLong)).toString();
}
