/** Programs that end with this process. */
import { existsSync } from 'node:fs';

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => process.platform === 'linux' && existsSync(path));

/** A build that is killed outright must not leave its compilers running: the kernel tells them (prctl(2)). */
export function withParentDeathSignal(command: string): [string, ...string[]] {
  return SETPRIV === undefined || isBusybox() ? [command] : [SETPRIV, '--pdeathsig', 'TERM', '--', command];
}

/** BusyBox's setpriv has no --pdeathsig; BusyBox systems are musl systems with this loader-independent marker. */
const isBusybox = (): boolean => existsSync('/etc/alpine-release');
