/**
 * The entry point of `/sbin/init`. PID 1 starts it with a role as its argument. pid1/supervisor.h describes their
 * protocol.
 */
import { PATHS } from '@nodeos/contract';
import { runMainHere } from './become.js';
import { waitForOrder, WAITING_ROLE } from './dev.js';
import { runRole } from './roles.js';
import { LinuxSyscalls } from './syscalls.js';

const role = process.argv[2] ?? 'boot';
// A waiting process is the application's own, and can read nothing that the other roles read.
if (role === WAITING_ROLE) waitForOrder(runMainHere);
else if (!runRole(role, new LinuxSyscalls(PATHS.addon))) process.exitCode = 1;
