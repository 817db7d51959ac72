/**
 * The entry point of `/sbin/init`. PID 1 starts it with a role as its argument. pid1/supervisor.h describes their
 * protocol.
 */
import { PATHS } from '@nodeos/contract';
import { runRole } from './roles.js';
import { LinuxSyscalls } from './syscalls.js';

if (!runRole(process.argv[2] ?? 'boot', new LinuxSyscalls(PATHS.addon))) process.exitCode = 1;
