#!/usr/bin/env node
import module from 'node:module';
import { compiledFolder } from '../dist/host/compiled.js';

// Node.js 22 and newer keep what they compile, which is a tenth of the time until a machine starts.
module.enableCompileCache?.(compiledFolder());

const { runProcess } = await import('../dist/process.js');
await runProcess();
