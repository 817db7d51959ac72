/** A machine with a screen and a serial port: both show everything, and what is typed on either one reaches the REPL. */
import { createConnection } from 'node:net';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runMachine } from '@nodeos/vm';
import { expect, it } from 'vitest';
import { LONG, start, temporary } from '../support.js';
import { EMULATED_PC } from './emulated.js';

/** Gives commands to QEMU's monitor. */
async function monitor(path: string, commands: readonly string[]): Promise<void> {
  const socket = createConnection(path);
  for (const command of commands) {
    socket.write(`${command}\n`);
    await sleep(200);
  }
  socket.destroy();
}

/** The colours in a picture of QEMU's: a portable pixmap. */
async function coloursOf(path: string): Promise<Set<string>> {
  const bytes = await readFile(path);
  const pixels = bytes.subarray(bytes.indexOf('\n255\n') + 5);
  const colours = new Set<string>();
  for (let at = 0; at + 3 <= pixels.length; at += 3) colours.add(pixels.toString('hex', at, at + 3));
  return colours;
}

it('the REPL is on the screen and on the serial port', { timeout: LONG }, async () => {
  const dir = await temporary();
  const [socket, picture] = [join(dir, 'monitor'), join(dir, 'screen.ppm')];
  const extra = ['-vga', 'std', '-monitor', `unix:${socket},server=on,wait=off`, '-sandbox', 'off'];
  const machine = start(['start', '--format', 'disk', '--boot-timeout', '120', '--timeout', '150', '--', ...extra]);
  await machine.waitForOutput(/> /);
  await monitor(socket, ['sendkey 6', 'sendkey shift-8', 'sendkey 7', 'sendkey ret']);
  await machine.waitForOutput(/m42\b/);
  machine.child.stdin?.write("const seen = fs.readFileSync('/dev/vcs1', 'latin1')\r");
  machine.child.stdin?.write("'screen: ' + [/To leave: \\.exit/, /> 6\\*7 +42 /].map((text) => text.test(seen))\r");
  await machine.waitForOutput(/screen: true,true/);
  await monitor(socket, [`screendump ${picture}`, '']);
  await sleep(500);
  expect((await coloursOf(picture)).size).toBeGreaterThan(2); // black, grey, and the colours of the REPL
  machine.child.stdin?.write('.exit\r');
  await machine.ended;
});

it('a time that the watchdog cannot do is said on the console', { timeout: LONG }, async () => {
  const machine = start(['start', '--append', 'nodeos.watchdog=5000', '--', '-device', 'i6300esb']);
  await machine.waitForOutput(
    /the watchdog resets the machine after 30 s: it cannot do the 5000 s of nodeos\.watchdog/,
  );
  await machine.waitForOutput(/> /);
  machine.child.stdin?.write('.exit\r');
  await machine.ended;
});

/** Keeps this process from reading for most of the time, as other programs do on a busy machine. @returns to stop it */
function busy(milliseconds: number): () => void {
  const word = new Int32Array(new SharedArrayBuffer(4));
  const timer = setInterval(() => Atomics.wait(word, 0, 0, milliseconds), milliseconds / 4);
  return () => clearInterval(timer);
}

it(
  'a flood on a screen, which takes everything, does not keep PID 1 from the watchdog',
  { timeout: LONG },
  async () => {
    const extra = ['-vga', 'std', '-device', 'i6300esb', '-action', 'watchdog=reset'];
    const words = 'console=tty0 nodeos.watchdog=4';
    const machine = start(['start', '--append', words, '--boot-timeout', '120', '--timeout', '150', '--', ...extra]);
    await machine.waitForOutput(/> /);
    const flood = "for (const end = Date.now() + 12e3; Date.now() < end;) console.log('x'.repeat(200))";
    machine.child.stdin?.write(`${flood}; 'sur' + 'vived'\r`);
    const stop = busy(200);
    await machine.waitForOutput(/survived/).finally(stop);
    machine.child.stdin?.write('.exit\r');
    await machine.ended;
  },
);

it('firmware loses no word on a busy host, though it waits for nobody', { timeout: LONG }, async () => {
  const path = join(await temporary(), 'empty.img');
  await writeFile(path, '');
  await truncate(path, 1 << 20);
  const kill = new AbortController();
  let text = '';
  const stop = busy(3000);
  const machine = runMachine({
    ...EMULATED_PC,
    medium: { path, firmware: 'uefi', drive: 'virtio' },
    kill: kill.signal,
    bootTimeout: 120,
    onConsole: (chunk) => {
      text += chunk.toString('latin1');
      if (/Shell> /.test(text)) kill.abort();
    },
  });
  await expect(machine.finally(stop)).rejects.toThrow('SIGKILL');
  expect(text).toMatch(/^BdsDxe: starting \w+ "EFI Internal Shell" from Fv\([-0-9A-F]+\)\/FvFile\([-0-9A-F]+\)\r$/m);
  expect(text).toMatch(/Press \S*ESC\S* in 5 seconds to skip \S*startup\.nsh\S* or any other key to continue\./);
});
