/** What `nodeos start` says of an application's address: that it answers, once it does. */
import { describe, expect, it } from 'vitest';
import { application, eventsIn, freePort, LONG, start } from '../support.js';

const listening = (address: string, delay: number): string =>
  `setTimeout(() => require('http').createServer((_, response) => response.end('hello')).listen(80, '${address}'), ${delay})`;

describe('the address of an application', { timeout: LONG }, () => {
  it.each(['0.0.0.0', '::'])(
    'is said when it listens on %s, and not before: the first request is answered',
    async (on) => {
      const port = await freePort();
      const app = await application({ 'main.js': listening(on, 3000) });
      const running = start(['start', app, '--publish', `${port}:80`, '--events']);
      await running.waitForOutput(new RegExp(`the guest's port 80 is http://127\\.0\\.0\\.1:${port}`));
      expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('hello');
      const events = eventsIn(running.output.stdout);
      const at = (name: string): number => events.find(({ event }) => event === name)?.us ?? NaN;
      expect(at('listening') - at('app')).toBeGreaterThan(2_900_000);
      running.child.kill('SIGINT');
      expect((await running.ended).status).toBe(130);
    },
  );

  it('is not said of one that only the machine itself reaches: after a while, that nothing listens', async () => {
    const port = await freePort();
    const running = start([
      'start',
      await application({ 'main.js': listening('127.0.0.1', 0) }),
      '--publish',
      `${port}:80`,
    ]);
    await running.waitForOutput(
      /nothing listens yet on port 80 of the guest, .*: the application finds the port in PORT/,
    );
    expect(running.output.stderr).not.toContain("the guest's port 80 is");
    running.child.kill('SIGINT');
    expect((await running.ended).status).toBe(130);
  });
});
