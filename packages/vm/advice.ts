/**
 * A table of error messages of applications that have their cause in what the guest is, not in the application. The
 * messages say what failed, but not what to do here.
 */

const SIGNS: readonly (readonly [RegExp, (match: RegExpExecArray) => string])[] = [
  [
    /(?:EACCES: permission denied|EROFS: read-only file system), \w+ '(\/app(?:\/[^']*)?)'/,
    ([, path]) =>
      `${path ?? ''} cannot be written: the application's folder is not its own. Have it write to /home/app or /tmp, both in memory (variables for that: "nodeos": {"env": {…}}), or run it as root: "nodeos": {"user": "root"}`,
  ],
  [
    /spawn \/bin\/sh ENOENT/,
    () => 'the image has no shell, which exec() and the option "shell" of child processes need',
  ],
  [
    /spawn (\S+) ENOENT/,
    ([, program]) => `the image has no program ${program ?? ''}: only /bin/node, and programs inside packages`,
  ],
  [
    /Could not locate the bindings file|Cannot find module '[^']*\.node'|No native build was found/,
    () =>
      'native code of a dependency is missing: it is compiled if "allowScripts" in package.json names the package, as the messages before the boot say',
  ],
  [
    /node::RemoveEnvironmentCleanupHook\(v8::Isolate\*/,
    () =>
      'addons whose objects are node::ObjectWrap abort so on Node.js 24.19 and later, when V8 collects one while no JavaScript runs (better-sqlite3 before 13 is one): take a newer version of the addon, or --node 22',
  ],
];

/** Finds advice about the last error that a console shows. Of several lines, the last is why the application ended. */
export function adviceIn(text: string): string | undefined {
  const found = SIGNS.flatMap(([pattern, advise]) => {
    const match = [...text.matchAll(new RegExp(pattern, 'g'))].at(-1);
    return match ? [{ at: match.index, advice: advise(match) }] : [];
  });
  return found.sort((a, b) => b.at - a.at)[0]?.advice;
}
