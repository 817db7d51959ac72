import { expect, it } from 'vitest';
import { adviceIn } from '../advice.js';

it.each([
  [
    'writes to its own folder',
    "Error: EACCES: permission denied, mkdir '/app/verdaccio'\n    at Object.mkdirSync (node:fs:1756:26)",
    /^\/app\/verdaccio cannot be written: .*\/home\/app or \/tmp.*"user": "root"/,
  ],
  ['opens a file there', "EACCES: permission denied, open '/app/data.db'", /^\/app\/data\.db cannot be written/],
  ['needs a shell', "Error: spawn /bin/sh ENOENT\n  errno: -2,\n  path: '/bin/sh'", /no shell/],
  ['needs a program', 'Error: spawn git ENOENT', /no program git/],
  [
    'lacks an addon',
    'Error: Could not locate the bindings file. Tried:\n → /app/node_modules/x/build/x.node',
    /allowScripts/,
  ],
  ['lacks a file of an addon', "Error: Cannot find module '../build/Release/sharp.node'", /allowScripts/],
  [
    'has an addon that aborts',
    '  #  /bin/node[99]: void node::RemoveEnvironmentCleanupHook(v8::Isolate*, CleanupHook, void*) at ../src/api/hooks.cc:142',
    /--node 22/,
  ],
  ['fails in two ways', "spawn git ENOENT\nEACCES: permission denied, open '/app/x'", /^\/app\/x cannot/],
  [
    'fails in two ways, in the other order',
    "EACCES: permission denied, open '/app/x'\nspawn git ENOENT",
    /no program git/,
  ],
])('an application that %s gets advice', (_, text, advice) => {
  expect(adviceIn(text)).toMatch(advice);
});

it.each([
  ['is not there', "Cannot find module './routes'"],
  ['belongs to somebody else', "EACCES: permission denied, open '/etc/shadow'"],
  ['only has a similar name', "EACCES: permission denied, mkdir '/application'"],
])('there is none about what %s', (_, text) => {
  expect(adviceIn(text)).toBeUndefined();
});
