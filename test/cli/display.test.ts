/** The progress display in real terminals. */
import { describe, expect, it } from 'vitest';
import { temporary } from '../support.js';
import { openTerminal } from '../terminal.js';

const DRIVER = 'test/cli/fixtures/hostile-build.js';
/** A row of the display: an icon and a name, or a line of a tool below it. */
const ROW = /^(. hostile-(one|two)( \[\d+s\])?| {2}› .*)$/;

describe('the display of a build whose tools print hostile output', () => {
  it.each([80, 40, 200])('stays intact in a terminal of %i columns', async (columns) => {
    const terminal = await openTerminal(columns, 24);
    await terminal.type(`clear; node ${DRIVER} 4 ${await temporary()}; echo status $?`);
    await terminal.waitForScreen(/› /);
    for (let look = 0; look < 8; look++) {
      const rows = (await terminal.waitForScreen(/hostile-two/))
        .trimEnd()
        .split('\n')
        .filter((row) => row !== '');
      expect(rows.filter((row) => !ROW.test(row))).toEqual([]);
      expect(rows).toHaveLength(rows.filter((row) => row.startsWith('  ')).length + 2);
    }
    const last = await terminal.waitForScreen(/status 0/);
    expect(last).toMatch(/✔ hostile-one \[\ds\]\n✔ hostile-two \[\ds\]\nstatus 0/);
    expect(await terminal.state('#{pane_title} #{alternate_on} #{cursor_flag}')).not.toMatch(/stolen| 1 .$/);
    expect(await terminal.hasCursor()).toBe(true);
  });

  it('follows the size of the terminal', async () => {
    const terminal = await openTerminal(100, 24);
    await terminal.type(`clear; node ${DRIVER} 6 ${await temporary()}`);
    await terminal.waitForScreen(/› /);
    await terminal.resize(30, 10);
    await terminal.waitForScreen(/✔ hostile-two/);
    const rows = (await terminal.screen()).trimEnd().split('\n');
    expect(rows.every((row) => row.length <= 30)).toBe(true);
    await terminal.waitForPrompt();
  });
});
