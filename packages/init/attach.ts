/**
 * The program that attaches network block devices (`attach/nbd-attach.c`), static: for guests, and for other machines
 * with Linux. It is apart from the init, since it needs no Node.js.
 */
import type { Step } from '@nodeos/engine';
import type { Target } from '@nodeos/targets';
import type { Compiler } from '@nodeos/toolchain';
import { ATTACH, compileProgram, nativeFiles } from './programs.js';

/** The file's name in the step's output. */
export const NBD_ATTACH = ATTACH.name;

export function nbdAttach(target: Target, compiler: Compiler): Step {
  return {
    name: 'nbd-attach',
    target,
    recipe: import.meta.url,
    files: nativeFiles('lib', 'netroot', 'attach'),
    inputs: compiler.inputs,
    tools: compiler.tools,
    async build(context) {
      await compileProgram(context, compiler, ATTACH);
    },
  };
}
