/** Compiles a program against the published types alone, as strictly as a user may, by the oldest compiler and today's. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url));
const COMPILERS = ['typescript-5.7', 'typescript'];

/** Optional peers, and their own packages: a user need not have them. */
const ABSENT = /^@(aws-sdk|aws-crypto|smithy|nodeos)$/;
const OPTIONS = {
  target: 'ES2022',
  module: 'NodeNext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  skipLibCheck: false,
};

/**
 * @param {string} folder with the packages in node_modules
 * @param {string[]} names of the packages
 * @returns {Promise<string[]>} the compilers' errors
 */
export async function typeProblems(folder, names) {
  await linkOthers(join(folder, 'node_modules'));
  const lines = names.map((name, index) => `import * as package${index} from '${name}';\nvoid package${index};\n`);
  await writeFile(join(folder, 'main.mts'), lines.join(''));
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: OPTIONS, files: ['main.mts'] }));
  const problems = [];
  for (const compiler of COMPILERS) problems.push(...(await errorsOf(compiler, folder)));
  return problems;
}

/** The packages that these depend on. */
async function linkOthers(modules) {
  for (const name of await readdir(MODULES)) {
    if (ABSENT.test(name) || name.startsWith('.')) continue;
    const packages = name.startsWith('@')
      ? (await readdir(join(MODULES, name))).map((one) => `${name}/${one}`)
      : [name];
    for (const one of packages) {
      await mkdir(dirname(join(modules, one)), { recursive: true });
      await symlink(join(MODULES, one), join(modules, one)).catch(ignoreExisting);
    }
  }
}

/** The packages themselves are there already. */
function ignoreExisting(error) {
  if (error.code !== 'EEXIST') throw error;
}

function errorsOf(compiler, folder) {
  const program = join(MODULES, compiler, 'bin/tsc');
  return new Promise((resolve) => {
    execFile(process.execPath, [program, '-p', folder], (error, stdout) =>
      resolve(error ? [...stdout.trim().split('\n'), error.message].map((line) => `${compiler}: ${line}`) : []),
    );
  });
}
