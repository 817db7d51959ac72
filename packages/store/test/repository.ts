/** A repository of a registry on the loopback that asks for no login. */
import { collected } from '@nodeos/base';
import { httpRequest, type HttpResponse } from '@nodeos/base/http';
import type { PackRepository } from '@nodeos/store';

/** @param reads counts the bytes that were asked for */
export function repositoryAt(host: string, path: string, reads = { bytes: 0, requests: 0 }): PackRepository {
  const root = `http://${host}/v2/${path}`;
  const expectSuccess = (response: HttpResponse): HttpResponse => {
    if (response.statusCode >= 200 && response.statusCode < 300) return response;
    throw new Error(`HTTP status ${response.statusCode}`);
  };
  return {
    name: `${host}/${path}`,
    async manifest(tag) {
      const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
      const response = await httpRequest(`${root}/manifests/${tag}`, {
        headers,
        signal: AbortSignal.timeout(60_000),
        timeout: 5000,
      });
      if (response.statusCode === 404) return undefined;
      return { bytes: await collected(expectSuccess(response), 4 << 20, () => new Error('too long')) };
    },
    async blob({ digest }, offset, _, length = 1) {
      const headers = { range: `bytes=${offset}-${offset + length - 1}` };
      const response = expectSuccess(
        await httpRequest(`${root}/blobs/${digest}`, { headers, signal: AbortSignal.timeout(60_000), timeout: 5000 }),
      );
      reads.bytes += length;
      reads.requests++;
      return { offset: response.statusCode === 206 ? offset : 0, body: response };
    },
    async putBlob({ digest, size }, open) {
      const post = {
        method: 'POST',
        headers: { 'content-length': '0' },
        signal: AbortSignal.timeout(60_000),
        timeout: 5000,
      } as const;
      const begun = expectSuccess(await httpRequest(`${root}/blobs/uploads/`, post));
      begun.destroy();
      const to = new URL(begun.headers.location ?? '', root);
      to.searchParams.set('digest', digest);
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) };
      const put = { method: 'PUT', headers, body: open(), signal: AbortSignal.timeout(60_000), timeout: 5000 } as const;
      expectSuccess(await httpRequest(to, put)).destroy();
    },
    async putManifest(tag, { bytes, mediaType }) {
      const put = {
        method: 'PUT',
        headers: { 'content-type': mediaType },
        body: bytes,
        signal: AbortSignal.timeout(60_000),
        timeout: 5000,
      } as const;
      expectSuccess(await httpRequest(`${root}/manifests/${tag}`, put)).destroy();
    },
  };
}
