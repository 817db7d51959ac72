/** Runs the text of a sources file to get its exports. This way, it does not matter how the file is written. */
import { compileFunction } from 'node:vm';
import * as base from '@nodeos/base';
import * as engine from '@nodeos/engine';
import ts from 'typescript';

const MODULES: Readonly<Record<string, unknown>> = { '@nodeos/base': base, '@nodeos/engine': engine };

/** @throws NodeosError if the text cannot be run */
export function exportsOf(text: string, file: string): Readonly<Record<string, unknown>> {
  const options = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
  const { outputText, diagnostics = [] } = ts.transpileModule(text, {
    fileName: file,
    compilerOptions: options,
    reportDiagnostics: true,
  });
  const [wrong] = diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
  if (wrong !== undefined) throw new base.NodeosError(`cannot read the pins in ${file}: ${wrong}`);
  const exported: Record<string, unknown> = {};
  const load = (name: string): unknown => {
    if (Object.hasOwn(MODULES, name)) return MODULES[name];
    throw new Error(`it imports ${name}; a sources file may only import ${Object.keys(MODULES).join(', ')}`);
  };
  try {
    const run = compileFunction(outputText, ['exports', 'require'], { filename: file }) as (...args: unknown[]) => void;
    run(exported, load);
  } catch (error) {
    throw new base.NodeosError(`cannot read the pins in ${file}: ${base.messageOf(error)}`, { cause: error });
  }
  return exported;
}
