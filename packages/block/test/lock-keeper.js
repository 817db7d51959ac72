/** Takes a lock, says its own number, and keeps both. */
import { lockFile } from '../dist/index.js';

await lockFile(process.argv[2]);
console.log(process.pid);
setInterval(() => undefined, 1000);
