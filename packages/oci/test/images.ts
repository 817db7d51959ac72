/** Images that are made by hand, byte for byte, so that they can be as bad as images get. */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** A member of a tar archive. */
export interface Member {
  readonly path: string | Buffer;
  /** Default: `5` with a slash at the end, else `0`. */
  readonly kind?: string;
  readonly content?: string | Buffer;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly link?: string;
  readonly rdev?: readonly [number, number];
  /** Records of a pax header in front of it. */
  readonly pax?: Readonly<Record<string, string | Buffer>>;
}

export const sha = (bytes: Uint8Array | string): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export function tarOf(members: readonly Member[]): Buffer {
  return Buffer.concat([...members.flatMap(memberOf), Buffer.alloc(1024)]);
}

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);

function memberOf(member: Member): Buffer[] {
  const { path, content = '', pax } = member;
  const name = Buffer.from(path as string);
  const kind = member.kind ?? (name.at(-1) === 0x2f ? '5' : '0');
  const body = Buffer.from(content as string);
  const records = Object.entries(pax ?? {}).map(([key, value]) => recordOf(key, Buffer.from(value as string)));
  const header = headerOf({ ...member, path: name.subarray(0, 100), kind }, body.length);
  const extra = records.length === 0 ? [] : memberOf({ path: 'pax', kind: 'x', content: Buffer.concat(records) });
  return [...extra, header, padded(body)];
}

function recordOf(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function headerOf(
  { path, kind, mode, uid = 0, gid = 0, mtime = 0, link = '', rdev = [0, 0] }: Member & { readonly kind: string },
  size: number,
): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number, at: number): void => {
    const text = value.toString(8);
    if (value >= 0 && text.length < length) header.write(text.padStart(length - 1, '0'), at, 'latin1');
    else header.writeBigInt64BE(BigInt(value), at + length - 8);
    if (value < 0) header.fill(0xff, at, at + length - 8);
    else if (text.length >= length) header[at] = 0x80;
  };
  Buffer.from(path as string).copy(header);
  octal(mode ?? (kind === '5' ? 0o755 : 0o644), 8, 100);
  octal(uid, 8, 108);
  octal(gid, 8, 116);
  octal(size, 12, 124);
  octal(mtime, 12, 136);
  header.write(kind, 156, 'latin1');
  header.write(link, 157, 'utf8');
  header.write('ustar\x0000', 257, 'latin1');
  octal(rdev[0], 8, 329);
  octal(rdev[1], 8, 337);
  header.fill(' ', 148, 156);
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

export interface LayoutOptions {
  /** Default gzip. */
  readonly pack?: (tar: Buffer) => Buffer;
  readonly mediaType?: string;
  readonly config?: object;
}

const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** Writes a layout with one image, `latest`. @returns its folder */
export async function layoutOf(root: string, layers: readonly Buffer[], options: LayoutOptions = {}): Promise<string> {
  const { pack = (tar: Buffer) => gzipSync(tar, { level: 1 }), mediaType = GZIP, config = {} } = options;
  await mkdir(join(root, 'blobs/sha256'), { recursive: true });
  const put = async (type: string, bytes: Buffer): Promise<object> => {
    await writeFile(join(root, 'blobs/sha256', sha(bytes).slice(7)), bytes);
    return { mediaType: type, digest: sha(bytes), size: bytes.length };
  };
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  const stored = [];
  for (const layer of layers) stored.push(await put(mediaType, pack(layer)));
  const own = await put(
    'application/vnd.oci.image.config.v1+json',
    json({
      architecture: 'amd64',
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: layers.map(sha) },
      history: [],
    }),
  );
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await put(type, json({ schemaVersion: 2, mediaType: type, config: own, layers: stored }));
  const named = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } };
  await writeFile(join(root, 'index.json'), json({ schemaVersion: 2, manifests: [named] }));
  await writeFile(join(root, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
  return root;
}
