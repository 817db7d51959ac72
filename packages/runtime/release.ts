/** A Node.js of another version than the pinned one: what the registry says of it is kept, so that it stays the same. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeosError, replaceFile, UsageError } from '@nodeos/base';
import { type Target } from '@nodeos/targets';
import { Cache, run } from '@nodeos/engine';
import { NODE_PACKAGES, npmRelease, pinnedNode, rowFor, type NodeRelease } from './sources.js';

/** The first versions of their lines with `process.execve`, by which the init becomes the application. */
const OLDEST: Readonly<Record<number, number>> = { 22: 15, 23: 11 };

/** What the cache remembers: the integrity of each `PACKAGE@VERSION`, as npm writes it. */
const KNOWN = 'node-versions.json';

/**
 * @param wanted a version, or what npm takes in place of one: `26`, `^24.1`, `latest`
 * @param tell gets a line about what is trusted
 * @throws UsageError if the version is too old; NodeosError if the registry does not have it
 */
export async function releaseOf(target: Target, wanted: string, tell: (line: string) => void): Promise<NodeRelease> {
  const pinned = pinnedNode(target);
  if (wanted === pinned.version) return pinned;
  if (!/^[\w.^~-]+$/.test(wanted))
    throw new UsageError(`--node ${wanted}: expected a version such as ${pinned.version}`);
  const name = rowFor(NODE_PACKAGES, target, 'a build of Node.js');
  const file = join(new Cache().root, KNOWN);
  const known = await readKnown(file);
  const kept = known[`${name}@${wanted}`];
  const found = kept === undefined ? await askRegistry(name, wanted) : { version: wanted, integrity: kept };
  checkAge(found.version);
  if (found.version === pinned.version) return pinned;
  if (kept === undefined) {
    const text = JSON.stringify({ ...known, [`${name}@${found.version}`]: found.integrity }, null, 2) + '\n';
    await new Cache().ensure();
    await replaceFile(file, (path) => writeFile(path, text));
    tell(`Node.js ${found.version} is not the pinned ${pinned.version}: its checksum is what the registry says now`);
  }
  return npmRelease(
    name,
    found.version,
    Buffer.from(found.integrity.replace(/^sha512-/, ''), 'base64').toString('hex'),
  );
}

function checkAge(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 23 || minor >= (OLDEST[major] ?? Infinity)) return;
  const oldest = Object.entries(OLDEST).map(([line, least]) => `${line}.${least}`);
  throw new UsageError(`--node ${version}: too old, the init needs process.execve`, {
    hint: `take ${oldest.join(', ')} or a newer one`,
  });
}

interface Found {
  readonly version: string;
  readonly integrity: string;
}

/** Of several that a range stands for, the newest counts. */
async function askRegistry(name: string, wanted: string): Promise<Found> {
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
    .map((row): Found => ({ version: row['version'] ?? '', integrity: row['dist.integrity'] ?? '' }))
    .filter(({ integrity }) => /^sha512-[\w+/]+=*$/.test(integrity))
    .sort((a, b) => compareVersions(b.version, a.version));
  if (newest) return newest;
  throw new UsageError(`--node ${wanted}: the registry has no ${spec}`, {
    hint: `npm view ${name} versions lists what there is`,
  });
}

/** Of releases: three numbers. */
function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  return [0, 1, 2].map((place) => (left?.[place] ?? 0) - (right?.[place] ?? 0)).find((order) => order !== 0) ?? 0;
}

async function readKnown(file: string): Promise<Record<string, string>> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Record<string, string>;
  } catch {
    return {}; // none yet, or cut short: the registry is asked again
  }
}
