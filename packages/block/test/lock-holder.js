// Takes a lock repeatedly until it is killed, and reports each time. Ends if another process has the lock too.
import { existsSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockFile } from '../dist/index.js';

const [lock, owner] = process.argv.slice(2);

/** One that its parent has not asked about has ended too. */
const lives = (pid) => {
  try {
    return pid > 0 && process.kill(pid, 0) && !isZombie(pid);
  } catch {
    return false;
  }
};
const isZombie = (pid) =>
  existsSync(`/proc/${pid}/status`) && /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
const written = () => {
  try {
    return Number(readFileSync(owner, 'utf8'));
  } catch {
    return 0;
  }
};

for (;;) {
  const unlock = await lockFile(lock).catch((error) => {
    if (error.code !== 'EBUSY') throw error;
  });
  if (unlock) {
    if (lives(written())) throw new Error(`${owner}: process ${written()} has the lock too`);
    writeFileSync(owner, String(process.pid));
    writeSync(1, '.');
    await sleep(Math.random());
    if (written() !== process.pid) throw new Error(`${owner}: process ${written()} has got the lock`);
    rmSync(owner);
    await unlock();
  }
  await sleep(Math.random());
}
