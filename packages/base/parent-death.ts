/** Starts programs that end together with this process. */
import { existsSync } from 'node:fs';

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => process.platform === 'linux' && existsSync(path));

/**
 * Prefixes a command with `setpriv --pdeathsig TERM` where that exists. A killed build must not leave its compilers
 * running, so the kernel signals them (prctl(2)).
 */
export function withParentDeathSignal(command: string): [string, ...string[]] {
  return SETPRIV === undefined || isBusybox() ? [command] : [SETPRIV, '--pdeathsig', 'TERM', '--', command];
}

/** BusyBox's setpriv has no --pdeathsig. This file marks a system that is based on musl and BusyBox. */
const isBusybox = (): boolean => existsSync('/etc/alpine-release');
