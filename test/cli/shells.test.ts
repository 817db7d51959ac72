/** Completion as a person uses it: an interactive shell, and the Tab key. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { nodeos, ROOT, temporary } from '../support.js';
import { openTerminal, type Terminal } from '../terminal.js';

const NODEOS = `node ${join(ROOT, 'packages/cli/bin/nodeos.js')}`;

/** What each shell is started with, without anybody's configuration, and what loads the completion. */
const SHELLS: readonly (readonly [shell: string, start: string, load: string])[] = [
  ['bash', 'bash --norc --noprofile', `eval "$(${NODEOS} completion bash)"`],
  ['zsh', 'zsh -f', `autoload -U compinit && compinit -u -D && eval "$(${NODEOS} completion zsh)"`],
  ['fish', 'fish --no-config', `${NODEOS} completion fish | source`],
];

/** A shell in an empty folder with one file and one folder. */
async function openShell(start: string, load: string): Promise<Terminal> {
  const folder = await temporary();
  await writeFile(join(folder, 'image.img'), '');
  const terminal = await openTerminal(100, 40, { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder });
  await terminal.type(`cd ${folder} && mkdir project && exec ${start}`);
  await terminal.type(load);
  await terminal.type(`echo lo"aded"`);
  await terminal.waitForScreen(/^loaded$/m);
  await terminal.press('C-l');
  return terminal;
}

/** Types the beginning of a line, presses Tab until the screen shows the pattern, and clears the line. */
async function complete(terminal: Terminal, text: string, pattern: RegExp): Promise<void> {
  await terminal.press(text);
  for (let presses = 1; ; presses++) {
    await terminal.press('Tab');
    try {
      await terminal.waitForScreen(pattern, 3);
      break;
    } catch (error) {
      if (presses === 3) throw error;
    }
  }
  // A key that comes while the shell still draws is lost.
  for (let tries = 0; (await terminal.screen()).includes('nodeos') && tries < 20; tries++) {
    await terminal.press('C-e', 'C-u', 'C-l');
    await sleep(200);
  }
}

describe.each(SHELLS)('%s', (_, start, load) => {
  it('completes a command line', async () => {
    const terminal = await openShell(start, load);
    await complete(terminal, 'nodeos sta', /nodeos start/);
    await complete(terminal, 'nodeos cache pr', /nodeos cache prune/);
    await complete(terminal, 'nodeos nbd ', /attach[\s\S]*serve/);
    await complete(terminal, 'nodeos start --restr', /nodeos start --restrict/);
    await complete(terminal, 'nodeos start --machine mic', /--machine microvm/);
    await complete(terminal, 'nodeos build --target aar', /--target aarch64/);
    await complete(terminal, 'nodeos build --format qc', /--format qcow2/);
    await complete(terminal, 'nodeos build --format disk,qc', /--format disk,qcow2/);
    await complete(terminal, 'nodeos build initramfs-s', /nodeos build initramfs-stream/);
    await complete(terminal, 'nodeos image info im', /nodeos image info image\.img/);
    await complete(terminal, 'nodeos start pro', /nodeos start project/);
    await complete(terminal, 'nodeos build --app pro', /--app project/);
    await complete(terminal, 'nodeos completion zs', /nodeos completion zsh/);
  });
});

describe('nodeos completion', () => {
  it('knows three shells', async () => {
    for (const args of [['tcsh'], [], ['bash', 'zsh'], ['constructor']]) {
      const { status, stdout, stderr } = await nodeos('completion', ...args);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toContain('the shells are: bash, zsh, fish');
    }
  });
});
