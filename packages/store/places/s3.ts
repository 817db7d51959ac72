/** A bucket of S3, or of a compatible store. AWS's own variables and files say where it is, and who asks. */
import { collected, NodeosError } from '@nodeos/base';
import type { S3Client } from '@aws-sdk/client-s3';
import { tooLarge } from './answers.js';
import type { PrunablePlace } from './place.js';

type Sdk = typeof import('@aws-sdk/client-s3');

/** @param url `s3://BUCKET/PREFIX` */
export function s3Place(url: URL): PrunablePlace {
  const Bucket = url.hostname;
  const prefix = decodeURIComponent(url.pathname.replace(/^\/|\/$/g, ''));
  const name = `s3://${Bucket}${prefix === '' ? '' : `/${prefix}`}`;
  const keyOf = (path: string): string => (prefix === '' ? path : `${prefix}/${path}`);
  let opened: Promise<{ sdk: Sdk; client: S3Client }> | undefined;
  const open = (): Promise<{ sdk: Sdk; client: S3Client }> => (opened ??= connect());

  /** @returns undefined if there is no such object */
  async function unlessGone<T>(work: (sdk: Sdk, client: S3Client) => Promise<T>): Promise<T | undefined> {
    const { sdk, client } = await open();
    try {
      return await work(sdk, client);
    } catch (error) {
      if (error instanceof sdk.S3ServiceException && error.$metadata.httpStatusCode === 404) return undefined;
      throw error;
    }
  }

  return {
    name,
    get: (path, most, signal) =>
      unlessGone(async (sdk, client) => {
        const command = new sdk.GetObjectCommand({ Bucket, Key: keyOf(path) });
        const { Body, ContentLength = 0 } = await client.send(command, signal ? { abortSignal: signal } : {});
        if (ContentLength > most) throw tooLarge(`${name}/${path}`, most);
        return collected(Body as AsyncIterable<Uint8Array>, most, () => tooLarge(`${name}/${path}`, most));
      }),
    size: async (path) =>
      unlessGone(
        async (sdk, client) =>
          (await client.send(new sdk.HeadObjectCommand({ Bucket, Key: keyOf(path) }))).ContentLength ?? 0,
      ),
    async put(path, bytes) {
      const { sdk, client } = await open();
      await client.send(new sdk.PutObjectCommand({ Bucket, Key: keyOf(path), Body: bytes }));
    },
    async *list(folder) {
      const { sdk, client } = await open();
      let ContinuationToken: string | undefined;
      do {
        const command = new sdk.ListObjectsV2Command({ Bucket, Prefix: `${keyOf(folder)}/`, ContinuationToken });
        const page = await client.send(command);
        for (const { Key = '', Size = 0, LastModified } of page.Contents ?? [])
          yield {
            path: prefix === '' ? Key : Key.slice(prefix.length + 1),
            size: Size,
            modified: LastModified?.getTime() ?? 0,
          };
        ContinuationToken = page.NextContinuationToken;
      } while (ContinuationToken !== undefined);
    },
    async delete(path) {
      const { sdk, client } = await open();
      await client.send(new sdk.DeleteObjectCommand({ Bucket, Key: keyOf(path) }));
    },
    /** S3 moves nothing. The copy is whole before the other one is deleted. */
    async move(from, to) {
      const isCopied = await unlessGone(async (sdk, client) => {
        const CopySource = encodeURI(`${Bucket}/${keyOf(from)}`);
        await client.send(new sdk.CopyObjectCommand({ Bucket, Key: keyOf(to), CopySource }));
        await client.send(new sdk.DeleteObjectCommand({ Bucket, Key: keyOf(from) }));
        return true;
      });
      return isCopied ?? false;
    },
    close: async () => (await opened)?.client.destroy(),
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
    // Every chunk is checked by its id.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  return { sdk, client };
}
