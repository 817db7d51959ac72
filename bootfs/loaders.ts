/**
 * Builds the boot loaders, which no C library and no other loader has a part in:
 *
 *     first     the code in the first sector of a disk, for a BIOS (bios/first.S)
 *     second    what it starts, and what a BIOS starts from a CD (bios/second.S)
 *     stub      the start of a unified kernel image, for UEFI (efi/stub.c)
 *     select    what chooses one of two of them, for UEFI (efi/select.c)
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contractHeader } from '@nodeos/contract';
import type { Step, StepContext } from '@nodeos/engine';
import type { Target } from '@nodeos/targets';
import type { Compiler } from '@nodeos/toolchain';
import { efiTargetOf } from './efi.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));

/** Targets whose machines may have a BIOS. */
const BIOS_TARGETS: ReadonlySet<string> = new Set(['x86_64']);
/** The programs for a BIOS, and where they run. */
const BIOS_PROGRAMS = { first: 0x600, second: 0x7c00 } as const;

const EFI_PROGRAMS = ['stub', 'select'] as const;

const EFI_FLAGS = [
  ...['-std=c11', '-Os', '-Wall', '-Wextra', '-Werror', '-ffreestanding', '-fshort-wchar', '-nostdlib', '-static'],
  ...['-fpie', '-fvisibility=hidden', '-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-fno-ident'],
  ...['-fno-tree-loop-distribute-patterns', '-Wl,--build-id=none', '-Wl,-z,norelro'],
  ...['-Wl,--no-dynamic-linker', '-Wl,-pie', '-Wl,-T,program.ld'],
];

export const hasBios = (target: Target): boolean => BIOS_TARGETS.has(target.name);

export function bootLoaders(target: Target, compiler: Compiler): Step {
  return {
    name: 'boot-loaders',
    target,
    recipe: import.meta.url,
    files: { bios: join(HERE, 'bios'), efi: join(HERE, 'efi') },
    inputs: compiler.inputs,
    tools: compiler.tools,
    isLocal: compiler.tools.length > 0,
    async build(context) {
      await writeFile(join(context.work, 'contract.h'), contractHeader());
      for (const name of EFI_PROGRAMS) await compile(context, compiler, name);
      if (hasBios(target))
        for (const [name, address] of Object.entries(BIOS_PROGRAMS)) await assemble(context, compiler, name, address);
    },
  };
}

async function compile(context: StepContext, compiler: Compiler, name: string): Promise<void> {
  const program = join(context.work, `${name}.elf`);
  const flags = [...EFI_FLAGS, ...efiTargetOf(context.target).flags, `-I${context.work}`];
  await tool(context, compiler, 'gcc', [...flags, '-o', program, `${name}.c`], context.file('efi'));
  await flatten(context, compiler, program, name);
}

async function assemble(context: StepContext, compiler: Compiler, name: string, address: number): Promise<void> {
  const [object, program] = [join(context.work, `${name}.o`), join(context.work, `${name}.elf`)];
  const flags = ['-c', `-I${context.work}`];
  await tool(context, compiler, 'gcc', [...flags, '-o', object, `${name}.S`], context.file('bios'));
  await tool(context, compiler, 'ld', [`-Ttext=0x${address.toString(16)}`, '-o', program, object], context.work);
  await flatten(context, compiler, program, name);
}

/** Keeps only the bytes that run. */
const flatten = (context: StepContext, compiler: Compiler, program: string, name: string): Promise<void> =>
  tool(context, compiler, 'objcopy', ['-O', 'binary', '-j', '.text', program, join(context.dir, name)], context.work);

async function tool(
  context: StepContext,
  compiler: Compiler,
  name: string,
  args: readonly string[],
  cwd: string,
): Promise<void> {
  await context.run(`${compiler.prefix}${name}`, args, { ...compiler.options(context), cwd });
}
