import { describe, expect, it } from 'vitest';
import { start } from '../support.js';

describe('nodeos start without an application', () => {
  it('starts a REPL that greets, evaluates and can be left', async () => {
    const machine = start(['start', '--timeout', '60']);
    await machine.waitForOutput(/To leave: \.exit/);
    await machine.waitForOutput(/> /);
    machine.child.stdin?.write('console.log([6 * 7, process.pid > 1, process.stdin.isTTY, os.hostname()].join(" "))\r');
    await machine.waitForOutput(/^42 true true nodeos/m);
    machine.child.stdin?.write('.exit\r');
    const { status } = await machine.ended;
    expect(status).toBe(0);
  });

  it('passes Ctrl-C to the REPL', async () => {
    const machine = start(['start', '--timeout', '60']);
    await machine.waitForOutput(/> /);
    machine.child.stdin?.write('console.log("begin" + "ning"); for (;;) {}\r');
    await machine.waitForOutput(/^beginning/m);
    machine.child.stdin?.write('\x03');
    await machine.waitForOutput(/Script execution was interrupted/);
    machine.child.stdin?.write('.exit\r');
    expect((await machine.ended).status).toBe(0);
  });
});
