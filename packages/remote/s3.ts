/** A bucket of S3, or of a compatible store. AWS's own variables and files say where it is, and who asks. */
import { NodeosError } from '@nodeos/base';
import type { S3Client } from '@aws-sdk/client-s3';
import type { Store } from './store.js';

type Sdk = typeof import('@aws-sdk/client-s3');

/** @param url `s3://BUCKET/PREFIX` */
export function s3(url: URL): Store {
  const bucket = url.hostname;
  const prefix = decodeURIComponent(url.pathname.replace(/^\/|\/$/g, ''));
  const keyOf = (path: string): string => (prefix === '' ? path : `${prefix}/${path}`);
  let opened: Promise<{ sdk: Sdk; client: S3Client }> | undefined;
  const open = (): Promise<{ sdk: Sdk; client: S3Client }> => (opened ??= connect());
  return {
    name: `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`,
    async get(path, signal) {
      const { sdk, client } = await open();
      try {
        const command = new sdk.GetObjectCommand({ Bucket: bucket, Key: keyOf(path) });
        const { Body } = await client.send(command, { abortSignal: signal });
        return Body as AsyncIterable<Uint8Array> | undefined;
      } catch (error) {
        if (error instanceof sdk.S3ServiceException && error.$metadata.httpStatusCode === 404) return undefined;
        throw error;
      }
    },
    async put(path, { size, open: content }, signal) {
      const { sdk, client } = await open();
      const command = new sdk.PutObjectCommand({
        Bucket: bucket,
        Key: keyOf(path),
        Body: content(),
        ContentLength: size,
      });
      await client.send(command, { abortSignal: signal });
    },
  };
}

async function connect(): Promise<{ sdk: Sdk; client: S3Client }> {
  const sdk = await import('@aws-sdk/client-s3').catch((error: unknown) => {
    throw new NodeosError('S3 needs a package that is not here', {
      hint: 'npm install @aws-sdk/client-s3',
      cause: error,
    });
  });
  const { AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3 } = process.env;
  const client = new sdk.S3Client({
    maxAttempts: 2,
    // A store of one's own has no name of DNS for each bucket.
    forcePathStyle: AWS_ENDPOINT_URL !== undefined || AWS_ENDPOINT_URL_S3 !== undefined,
    // Our own digests are checked; a stream of a file has none to send first.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  return { sdk, client };
}
