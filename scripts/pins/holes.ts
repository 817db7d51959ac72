/** Known holes of the npm packages that are installed for running, by `npm audit`, where the registry answers. */
import { messageOf } from '@nodeos/base';
import { run } from '@nodeos/engine';

export interface Hole {
  readonly package: string;
  readonly severity: string;
  readonly range: string;
  readonly title: string;
  readonly url: string;
}

export type Holes = { readonly holes: readonly Hole[] } | { readonly unknown: string };

/** @param root the folder with the package-lock.json */
export async function findHoles(root: string, signal: AbortSignal): Promise<Holes> {
  // Without the level, npm also fails where there are holes.
  const args = ['audit', '--omit=dev', '--json', '--audit-level=none'];
  let said: string | undefined;
  const onLine = (line: string): void => void (said ??= /^npm (?:warn|error) audit (.*)/i.exec(line)?.[1]);
  try {
    return { holes: holesIn((await run('npm', args, { cwd: root, environment: 'host', signal, onLine })).stdout) };
  } catch (error) {
    signal.throwIfAborted();
    return { unknown: said ?? messageOf(error) };
  }
}

interface Advisory {
  readonly name: string;
  readonly severity: string;
  readonly range: string;
  readonly title: string;
  readonly url: string;
}

function holesIn(json: string): Hole[] {
  const { vulnerabilities } = JSON.parse(json) as {
    vulnerabilities: Readonly<Record<string, { readonly via: readonly (string | Advisory)[] }>>;
  };
  // A name in place of an advisory is a package that has the hole by another one, which is listed itself.
  const advisories = Object.values(vulnerabilities).flatMap(({ via }) => via.filter((one) => typeof one !== 'string'));
  return advisories.map(({ name, severity, range, title, url }) => ({ package: name, severity, range, title, url }));
}
