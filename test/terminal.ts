/**
 * A terminal for tests: a shell in tmux, with a screen that can be read, a size that can be changed, and keys. Each has a
 * server of its own, without anybody's configuration.
 */
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { ROOT } from './support.js';

const run = promisify(execFile);
const PROMPT = 'ready>';
let count = 0;

export interface Terminal {
  /** Types a line, and Enter. */
  type(line: string): Promise<void>;
  /** Presses keys, as tmux names them: `C-c`, `C-z`, `Space`. */
  press(...keys: string[]): Promise<void>;
  /** What is on the screen, without what has scrolled away. */
  screen(): Promise<string>;
  /** Resolves when the screen matches. @throws Error with the screen if it does not in time */
  waitForScreen(pattern: RegExp, seconds?: number): Promise<string>;
  /** Resolves when the shell waits for the next command. */
  waitForPrompt(seconds?: number): Promise<string>;
  resize(columns: number, rows: number): Promise<void>;
  /** Whether a cursor is shown. */
  hasCursor(): Promise<boolean>;
  /** What tmux knows of it, by one of its formats. */
  state(format: string): Promise<string>;
}

export async function openTerminal(columns = 80, rows = 24, env: Record<string, string> = {}): Promise<Terminal> {
  const server = `nodeos-test-${process.pid}-${++count}`;
  const tmux = async (...args: string[]): Promise<string> =>
    (await run('tmux', ['-L', server, '-f', '/dev/null', ...args], { cwd: ROOT, env: { ...process.env, ...env } }))
      .stdout;
  const shell = `env PS1='${PROMPT}' HISTFILE= bash --norc --noprofile -i`;
  await tmux('new-session', '-d', '-x', String(columns), '-y', String(rows), shell);
  onTestFinished(async () => {
    await tmux('kill-server').catch(() => undefined);
  });
  await tmux('set-option', '-g', 'window-size', 'manual');
  const screen = (): Promise<string> => tmux('capture-pane', '-p');
  const waitForScreen = async (pattern: RegExp, seconds = 60): Promise<string> => {
    for (const deadline = Date.now() + seconds * 1000; ; await sleep(50)) {
      const text = await screen();
      if (pattern.test(text)) return text;
      if (Date.now() > deadline) throw new Error(`the screen does not show ${String(pattern)}:\n${text}`);
    }
  };
  const state = async (format: string): Promise<string> => (await tmux('display-message', '-p', format)).trimEnd();
  const waitForPrompt = (seconds?: number): Promise<string> => waitForScreen(new RegExp(`${PROMPT}\\s*$`), seconds);
  await waitForPrompt();
  return {
    screen,
    waitForScreen,
    waitForPrompt,
    type: async (line) => {
      await tmux('send-keys', '-l', line);
      await tmux('send-keys', 'Enter');
    },
    press: async (...keys) => {
      await tmux('send-keys', ...keys);
    },
    resize: async (width, height) => {
      await tmux('resize-window', '-x', String(width), '-y', String(height));
    },
    hasCursor: async () => (await state('#{cursor_flag}')) === '1',
    state,
  };
}
