#!/usr/bin/env node
import module from 'node:module';

module.enableCompileCache?.(); // where this Node.js has it, later starts compile nothing
const { runProcess } = await import('../dist/process.js');
await runProcess();
