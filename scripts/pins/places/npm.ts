/** The versions that the npm registry offers. Runs npm, which knows the registry, the proxy and the credentials. */
import { NodeosError } from '@nodeos/base';
import { run, type NpmPlace } from '@nodeos/engine';
import { dayOf } from '../changelog.js';
import type { Context, PlaceKind } from './index.js';

export const npm: PlaceKind = {
  name: 'npm',
  matches: (place) => 'npm' in place,
  async query(place, context) {
    const { package: name, version: pinned } = (place as NpmPlace).npm;
    const view = (spec: string, field: string): Promise<unknown> => npmView(spec, field, context);
    const time = (await view(name, 'time')) as Readonly<Record<string, string>>;
    const newest = newestOf(Object.keys(time), pinned);
    if (newest === undefined) throw new NodeosError(`npm has no stable version of ${name} ${lineOf(pinned)}`);
    return {
      package: name,
      pinned,
      newest,
      family: () => Promise.resolve(`npm ${name}`),
      compare: compareNumbers,
      history: () =>
        Promise.resolve(Object.entries(time).map(([version, time]) => ({ version, date: dayOf(time), fixes: [] }))),
      async newestPlace() {
        const integrity = String(await view(`${name}@${newest}`, 'dist.integrity'));
        return { npm: { package: name, version: newest }, sha512: sha512In(integrity, `${name}@${newest}`) };
      },
    };
  },
};

async function npmView(spec: string, field: string, context: Context): Promise<unknown> {
  const { stdout } = await run('npm', ['view', spec, field, '--json', '--loglevel=error'], {
    environment: 'host',
    signal: context.signal,
  });
  try {
    return JSON.parse(stdout) as unknown;
  } catch (error) {
    throw new NodeosError(`npm view ${spec} ${field} gave no answer`, { cause: error });
  }
}

/** @returns the newest stable version with the same major version as `like` */
export function newestOf(versions: readonly string[], like: string): string | undefined {
  return versions
    .filter((version) => /^\d+\.\d+\.\d+$/.test(version) && lineOf(version) === lineOf(like))
    .sort(compareNumbers)
    .at(-1);
}

const lineOf = (version: string): string => `${version.split('.')[0] ?? ''}.x`;

function compareNumbers(a: string, b: string): number {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]];
  return x.map((number, i) => number - (y[i] ?? 0)).find((difference) => difference !== 0) ?? 0;
}

/** Extracts the SHA-512 of a subresource integrity (https://www.w3.org/TR/SRI/), in hexadecimal. */
export function sha512In(integrity: string, spec: string): string {
  const digest = Buffer.from(/(?:^|\s)sha512-([A-Za-z0-9+/=]+)/.exec(integrity)?.[1] ?? '', 'base64');
  if (digest.length === 64) return digest.toString('hex');
  throw new NodeosError(`npm declares no SHA-512 of ${spec}: ${integrity}`);
}
