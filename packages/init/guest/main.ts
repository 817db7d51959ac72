/** `/sbin/init`: PID 1 starts it with a role. See pid1/supervisor.h for what the two say to each other. */
import { play } from './roles.js';
import { LinuxSyscalls } from './syscalls.js';

if (!play(process.argv[2] ?? 'boot', new LinuxSyscalls('/sbin/syscalls.node'))) process.exitCode = 1;
