/**
 * The entry point of `/sbin/init`. PID 1 starts it with a role as its argument. pid1/supervisor.h describes their
 * protocol.
 */
import { play } from './roles.js';
import { LinuxSyscalls } from './syscalls.js';

if (!play(process.argv[2] ?? 'boot', new LinuxSyscalls('/sbin/syscalls.node'))) process.exitCode = 1;
