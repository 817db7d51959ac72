#!/usr/bin/env node
import module from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

// Node.js 22 and newer keep what they compile, which is a tenth of the time until a machine starts. In a folder of the
// user's own: others could write to one in /tmp, and what is in it is run.
const caches = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
module.enableCompileCache?.(join(caches, 'nodeos-compiled'));

const { runProcess } = await import('../dist/process.js');
await runProcess();
