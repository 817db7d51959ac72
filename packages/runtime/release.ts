/**
 * Node.js versions other than the pinned one. The cache keeps the registry's checksum of each, so that later builds use
 * the same file.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeosError, replaceFile, UsageError } from '@nodeos/base';
import { type Target } from '@nodeos/targets';
import { Cache, run } from '@nodeos/engine';
import { NODE_PACKAGES, npmRelease, pinnedNode, rowFor, type NodeRelease } from './sources.js';

/** By major version, the first minor version with `process.execve`. With it, the init becomes the application. */
const OLDEST: Readonly<Record<number, number>> = { 22: 15, 23: 11 };

/** The file in the cache with the integrity of each `PACKAGE@VERSION`, in npm's format. */
const KNOWN = 'node-versions.json';

/**
 * Finds a release of Node.js.
 * @param wanted a version, or what npm accepts in place of one: `26`, `^24.1`, `latest`
 * @param log called with a line about the checksum, when it is trusted for the first time
 * @throws UsageError if the version is malformed, too old, or not in the registry, or if the target has no build of
 * Node.js; NodeosError if npm fails
 */
export async function releaseOf(target: Target, wanted: string, log: (line: string) => void): Promise<NodeRelease> {
  const pinned = pinnedNode(target);
  if (wanted === pinned.version) return pinned;
  if (!/^[\w.^~-]+$/.test(wanted))
    throw new UsageError(`--node ${wanted}: expected a version such as ${pinned.version}`);
  const name = rowFor(NODE_PACKAGES, target, 'a build of Node.js');
  const file = join(new Cache().root, KNOWN);
  const known = await readKnown(file);
  const knownIntegrity = known[`${name}@${wanted}`];
  const release =
    knownIntegrity === undefined ? await queryRegistry(name, wanted) : { version: wanted, integrity: knownIntegrity };
  checkVersion(release.version);
  if (release.version === pinned.version) return pinned;
  if (knownIntegrity === undefined) {
    const text = JSON.stringify({ ...known, [`${name}@${release.version}`]: release.integrity }, null, 2) + '\n';
    await new Cache().ensure();
    await replaceFile(file, (path) => writeFile(path, text));
    log(
      `Node.js ${release.version} is not the pinned ${pinned.version}: trusting the checksum that the registry has now`,
    );
  }
  return npmRelease(
    name,
    release.version,
    Buffer.from(release.integrity.replace(/^sha512-/, ''), 'base64').toString('hex'),
  );
}

function checkVersion(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 23 || minor >= (OLDEST[major] ?? Infinity)) return;
  const oldest = Object.entries(OLDEST).map(([major, minor]) => `${major}.${minor}`);
  throw new UsageError(`--node ${version}: too old, the init needs process.execve`, {
    hint: `take ${oldest.join(', ')} or a newer one`,
  });
}

interface PublishedRelease {
  readonly version: string;
  readonly integrity: string;
}

/** Returns the newest version that matches `wanted`. @throws UsageError if the registry has none */
async function queryRegistry(name: string, wanted: string): Promise<PublishedRelease> {
  const spec = `${name}@${wanted}`;
  const { stdout } = await run('npm', ['view', spec, 'version', 'dist.integrity', '--json'], {
    environment: 'host',
  }).catch((error: unknown) => {
    if (error instanceof NodeosError && error.lines.some((line) => line.includes('E404'))) return { stdout: '' };
    throw error;
  });
  const answer = (stdout.trim() === '' ? [] : JSON.parse(stdout)) as Record<string, string> | Record<string, string>[];
  const [newest] = [answer]
    .flat()
    .map((row): PublishedRelease => ({ version: row['version'] ?? '', integrity: row['dist.integrity'] ?? '' }))
    .filter(({ integrity }) => /^sha512-[\w+/]+=*$/.test(integrity))
    .sort((a, b) => compareVersions(b.version, a.version));
  if (newest) return newest;
  throw new UsageError(`--node ${wanted}: the registry has no ${spec}`, {
    hint: `npm view ${name} versions lists what there is`,
  });
}

/** Compares release versions, which have three numbers. */
function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  return [0, 1, 2].map((index) => (left?.[index] ?? 0) - (right?.[index] ?? 0)).find((order) => order !== 0) ?? 0;
}

async function readKnown(file: string): Promise<Record<string, string>> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Record<string, string>;
  } catch {
    return {}; // the file is missing or incomplete: the registry is asked again
  }
}
