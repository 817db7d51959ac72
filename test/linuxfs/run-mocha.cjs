// Runs tests of mocha, and prints the names of those that passed and failed. What it runs is JSON in NODEOS_MOCHA, since
// over-linuxfs.js gives a program no arguments.
const { createRequire } = require('node:module');
const { env, exit, stdout } = require('node:process');

const { folder, files } = JSON.parse(env.NODEOS_MOCHA);
const Mocha = createRequire(`${folder}/`)('mocha');
const mocha = new Mocha({ ui: 'bdd', reporter: class {}, timeout: 30_000 });
for (const file of files) mocha.addFile(file);
const outcomes = { passed: [], failed: {} };
mocha
  .run(() => stdout.write(JSON.stringify(outcomes), () => exit(0)))
  .on('pass', (test) => outcomes.passed.push(test.fullTitle()))
  .on('fail', (test, error) => (outcomes.failed[test.fullTitle()] = String(error.stack)));
