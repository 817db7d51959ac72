/**
 * A client of S3, or of a compatible store. AWS's own variables and files say where it is, and who asks. The package
 * `@aws-sdk/client-s3` is installed by those who need it, and loaded with the first request.
 */
import type { S3Client } from '@aws-sdk/client-s3';
import { NodeosError } from './errors.js';

type Sdk = typeof import('@aws-sdk/client-s3');

export interface S3 {
  readonly sdk: Sdk;
  readonly client: S3Client;
}

export interface S3ConnectOptions {
  /** Of a request, the first one counted. */
  readonly attempts: number;
}

/** @throws NodeosError with the code ENOTSUP if the package is not installed */
export const loadS3 = (): Promise<Sdk> =>
  import('@aws-sdk/client-s3').catch((error: unknown) => {
    const missing = new NodeosError('S3 needs a package that is not here', {
      hint: 'npm install @aws-sdk/client-s3',
      cause: error,
    });
    throw Object.assign(missing, { code: 'ENOTSUP' });
  });

/** @throws the errors of `loadS3` */
export async function connectS3(options: S3ConnectOptions): Promise<S3> {
  const sdk = await loadS3();
  return { sdk, client: s3Client(sdk, options) };
}

export function s3Client({ S3Client: Client }: Sdk, { attempts }: S3ConnectOptions): S3Client {
  const { AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3 } = process.env;
  return new Client({
    maxAttempts: attempts,
    // A store of one's own has no name of DNS for each bucket.
    forcePathStyle: AWS_ENDPOINT_URL !== undefined || AWS_ENDPOINT_URL_S3 !== undefined,
    // Contents are checked by digests of our own; ranges have no checksums, and a stream has none to send first.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
}
