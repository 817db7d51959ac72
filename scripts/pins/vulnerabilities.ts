/** Known vulnerabilities of the npm packages that are needed at run time, by `npm audit`, if the registry answers. */
import { messageOf } from '@nodeos/base';
import { run } from '@nodeos/engine';

export interface Vulnerability {
  readonly package: string;
  readonly severity: string;
  readonly range: string;
  readonly title: string;
  readonly url: string;
}

export type Audit = { readonly holes: readonly Vulnerability[] } | { readonly unknown: string };

/** @param root the folder with package-lock.json @returns `unknown` with the reason if npm cannot tell */
export async function findVulnerabilities(root: string, signal: AbortSignal): Promise<Audit> {
  // Without --audit-level=none, npm fails if there are vulnerabilities.
  const args = ['audit', '--omit=dev', '--json', '--audit-level=none'];
  let auditMessage: string | undefined;
  const onLine = (line: string): void => void (auditMessage ??= /^npm (?:warn|error) audit (.*)/i.exec(line)?.[1]);
  try {
    return {
      holes: vulnerabilitiesIn((await run('npm', args, { cwd: root, environment: 'host', signal, onLine })).stdout),
    };
  } catch (error) {
    signal.throwIfAborted();
    return { unknown: auditMessage ?? messageOf(error) };
  }
}

interface Advisory {
  readonly name: string;
  readonly severity: string;
  readonly range: string;
  readonly title: string;
  readonly url: string;
}

function vulnerabilitiesIn(json: string): Vulnerability[] {
  const { vulnerabilities } = JSON.parse(json) as {
    vulnerabilities: Readonly<Record<string, { readonly via: readonly (string | Advisory)[] }>>;
  };
  // A name instead of an advisory is a vulnerable dependency, which is listed itself.
  const advisories = Object.values(vulnerabilities).flatMap(({ via }) =>
    via.filter((entry) => typeof entry !== 'string'),
  );
  return advisories.map(({ name, severity, range, title, url }) => ({ package: name, severity, range, title, url }));
}
