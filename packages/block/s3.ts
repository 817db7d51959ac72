/** An object in S3, or in a compatible store, as a read-only device. */
import { addAbortSignal, type Readable } from 'node:stream';
import type { GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3';
import { loadS3, s3Client } from '@nodeos/base/s3';
import type { BlockBackend } from './backend.js';
import { emptyBody, ranged, type RangeAnswer, type RangedOptions, type RangeRequest } from './ranged.js';

/** What is used of `S3Client`. The package is optional, so no published type names it. */
export interface S3Sender {
  send(command: never, options: { abortSignal?: AbortSignal }): Promise<unknown>;
  destroy(): void;
}

export interface S3Options extends RangedOptions {
  readonly bucket: string;
  readonly key: string;
  /** Default: a client from the environment, as for AWS's tools: AWS_REGION, AWS_ENDPOINT_URL, AWS_PROFILE … */
  readonly client?: S3Sender;
}

type Sdk = typeof import('@aws-sdk/client-s3');

/**
 * Opens an object by its URL (`s3://bucket/key`) or by bucket and key. `@aws-sdk/client-s3` must be installed beside
 * this package. Each `read` is one request without retries: wrap the device in `retry` for those.
 * @throws RemoteError, `transient` or not; see `ranged`. TypeError if the URL is not of the form `s3://bucket/key`.
 * Error with the code ENOTSUP if `@aws-sdk/client-s3` is not installed
 */
export async function s3(object: string | URL | S3Options): Promise<BlockBackend> {
  const { bucket, key, client, ...options } =
    typeof object === 'object' && 'bucket' in object ? object : parseUrl(object);
  const sdk = await loadS3();
  const s3 = (client as S3Client | undefined) ?? s3Client(sdk, { attempts: 1 });
  const device = await ranged(`s3://${bucket}/${key}`, (request) => get(sdk, s3, { bucket, key }, request), options);
  return {
    ...device,
    close: async () => {
      await device.close();
      if (client === undefined) s3.destroy();
    },
  };
}

function parseUrl(url: string | URL): S3Options {
  const { protocol, hostname, pathname } = new URL(url);
  const key = decodeURIComponent(pathname.slice(1));
  if (protocol !== 's3:' || hostname === '' || key === '') throw new TypeError(`${String(url)}: not s3://bucket/key`);
  return { bucket: hostname, key };
}

async function get(
  { GetObjectCommand, S3ServiceException }: Sdk,
  client: S3Client,
  { bucket, key }: { bucket: string; key: string },
  { range, version: { etag }, signal }: RangeRequest,
): Promise<RangeAnswer> {
  const command = new GetObjectCommand({
    Bucket: bucket,
    Key: key,
    Range: range,
    ...(etag !== undefined && { IfMatch: etag }),
  });
  try {
    return toAnswer(await client.send(command, { abortSignal: signal }), signal);
  } catch (error) {
    const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
    if (status === undefined) throw error;
    return { status, body: emptyBody() };
  }
}

const toAnswer = (output: GetObjectCommandOutput, signal: AbortSignal): RangeAnswer => ({
  status: output.$metadata.httpStatusCode ?? 0,
  etag: output.ETag,
  lastModified: output.LastModified?.toUTCString(),
  contentRange: output.ContentRange,
  contentEncoding: output.ContentEncoding,
  body: output.Body === undefined ? emptyBody() : abortable(output.Body as Readable, signal),
});

/** The SDK's own signal ends with the headers. */
function abortable(body: Readable, signal: AbortSignal): Readable {
  return addAbortSignal(signal, body).on('error', () => undefined); // the reader sees the error
}
