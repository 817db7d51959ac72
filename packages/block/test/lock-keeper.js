/** Takes a lock, says its own number, and keeps both. */
import { setTimeout } from 'node:timers';
import { lockFile } from '../dist/index.js';

await lockFile(process.argv[2]);
console.log(process.pid);
setTimeout(() => undefined, 60_000);
