/**
 * Builds the static program that attaches network block devices (`attach/nbd-attach.c`), for guests and for other Linux
 * machines. It is separate from the init because it needs no Node.js.
 */
import { artifact, type Artifact, type Step } from '@nodeos/engine';
import type { Target } from '@nodeos/targets';
import type { Compiler } from '@nodeos/toolchain';
import { ATTACH, compileProgram, nativeFiles } from './programs.js';

export function nbdAttach(target: Target, compiler: Compiler): Artifact<'program'> {
  const step: Step = {
    name: ATTACH.name,
    target,
    recipe: import.meta.url,
    files: nativeFiles('lib', 'netroot', 'attach'),
    inputs: compiler.inputs,
    tools: compiler.tools,
    isLocal: compiler.tools.length > 0,
    async build(context) {
      await compileProgram(context, compiler, ATTACH);
    },
  };
  return artifact(step, 'program', ATTACH.name);
}
