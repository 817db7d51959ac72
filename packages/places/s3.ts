/** A bucket of S3, or of a compatible store. AWS's own variables and files say where it is, and who asks. */
import { collected } from '@nodeos/base';
import { connectS3, type S3 } from '@nodeos/base/s3';
import { tooLarge } from './answers.js';
import { bodyOf, sizeOf, type PrunablePlace } from './place.js';

/** @param url `s3://BUCKET/PREFIX` */
export function s3Place(url: URL): PrunablePlace {
  const Bucket = url.hostname;
  const prefix = decodeURIComponent(url.pathname.replace(/^\/|\/$/g, ''));
  const name = `s3://${Bucket}${prefix === '' ? '' : `/${prefix}`}`;
  const keyOf = (path: string): string => (prefix === '' ? path : `${prefix}/${path}`);
  let opened: Promise<S3> | undefined;
  // Who stores something checks it by digests of his own, and a stream of a file has none to send first.
  const open = (): Promise<S3> => (opened ??= connectS3({ attempts: 2 }));

  /** @returns undefined if there is no such object */
  async function unlessGone<T>(work: (s3: S3) => Promise<T>): Promise<T | undefined> {
    const s3 = await open();
    const { sdk } = s3;
    try {
      return await work(s3);
    } catch (error) {
      if (error instanceof sdk.S3ServiceException && error.$metadata.httpStatusCode === 404) return undefined;
      throw error;
    }
  }

  const send = (path: string, signal?: AbortSignal) =>
    unlessGone(({ sdk, client }) =>
      client.send(new sdk.GetObjectCommand({ Bucket, Key: keyOf(path) }), signal ? { abortSignal: signal } : {}),
    );

  return {
    name,
    async get(path, most, signal) {
      const found = await send(path, signal);
      if (!found) return undefined;
      const tooMuch = (): Error => tooLarge(`${name}/${path}`, most);
      if ((found.ContentLength ?? 0) > most) throw tooMuch();
      return collected(found.Body as AsyncIterable<Uint8Array>, most, tooMuch);
    },
    open: async (path, signal) => (await send(path, signal))?.Body as AsyncIterable<Uint8Array> | undefined,
    size: async (path) =>
      unlessGone(
        async ({ sdk, client }) =>
          (await client.send(new sdk.HeadObjectCommand({ Bucket, Key: keyOf(path) }))).ContentLength ?? 0,
      ),
    async put(path, content, signal) {
      const { sdk, client } = await open();
      const command = new sdk.PutObjectCommand({
        ...{ Bucket, Key: keyOf(path), Body: bodyOf(content), ContentLength: sizeOf(content) },
      });
      await client.send(command, signal ? { abortSignal: signal } : {});
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
      const isCopied = await unlessGone(async ({ sdk, client }) => {
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
