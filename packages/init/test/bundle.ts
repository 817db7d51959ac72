/**
 * Bundles a program with all its imports into one file, for guests without installed packages. esbuild belongs to this
 * package.
 */
import { build } from 'esbuild';

/** Writes a self-contained module. Optional modules with binaries are left out. */
export async function bundle(entry: string, to: string): Promise<void> {
  await build({
    entryPoints: [entry],
    outfile: to,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['esbuild', 'koffi', '@mongodb-js/zstd'],
    // CommonJS modules in the bundle require Node.js's own modules.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    },
    logLevel: 'error',
  });
}
