/** One file of a program and all that it imports, for guests in which nothing is installed. esbuild is of this package. */
import { build } from 'esbuild';

/** Writes a module that runs by itself. What is optional, and has binaries, is left out. */
export async function bundle(entry: string, to: string): Promise<void> {
  await build({
    entryPoints: [entry],
    outfile: to,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['esbuild', 'koffi'],
    // Modules of CommonJS in it ask for those of Node.js itself.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    },
    logLevel: 'error',
  });
}
