/**
 * The site of the documentation and the recording, as Chromium shows them to somebody at a desk and on a telephone. The
 * pictures stay in out/pages, for people to look at. https://playwright.dev/docs/api/class-page
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { serve } from 'vitepress';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { freePort, ROOT } from '../support.js';

const DOCS = join(ROOT, 'docs');
const PICTURES = join(ROOT, 'out/pages');
const RECORDING = `file://${DOCS}/images/start.svg`;
const DESK = { width: 1280, height: 900 };
/** In milliseconds, on a host that has other work. */
const PATIENCE = 300_000;
const TELEPHONE = { width: 390, height: 844 };

let origin = '';
let browser: Browser;
let stopServer = (): void => undefined;

beforeAll(async () => {
  execFileSync('npm', ['run', '--silent', 'docs'], { cwd: ROOT, stdio: 'inherit' });
  await mkdir(PICTURES, { recursive: true });
  const port = await freePort();
  const { server } = await serve({ root: DOCS, port });
  stopServer = () => void server.close();
  origin = `http://localhost:${port}`;
  // Root has no sandbox in Chromium. The pages are our own.
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
});
afterAll(async () => {
  await browser.close();
  stopServer();
});

/** Opens a page. @returns it, and what went wrong while it was loaded */
async function opened(url: string, viewport = DESK): Promise<{ page: Page; wrong: string[] }> {
  const page = await browser.newPage({ viewport });
  onTestFinished(() => page.close());
  const wrong: string[] = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') wrong.push(message.text());
  });
  page.on('requestfailed', (request) => wrong.push(`${request.url()}: ${request.failure()?.errorText ?? ''}`));
  page.on('response', (response) => {
    if (response.status() >= 400) wrong.push(`${response.status()} ${response.url()}`);
  });
  await page.goto(url, { waitUntil: 'networkidle', timeout: PATIENCE });
  return { page, wrong };
}

const pictureOf = (page: Page, name: string): Promise<Buffer> =>
  page.screenshot({ path: join(PICTURES, `${name}.png`) });

/** All pages, but of the API only the first: the generator makes the others alike. */
const paths = (): string[] =>
  readdirSync(join(DOCS, '.vitepress/dist'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.html') && path !== '404.html')
    .filter((path) => !path.startsWith('reference/api/') || path === 'reference/api/index.html')
    .sort();

interface Look {
  readonly headings: number;
  /** Pictures whose file is not one. */
  readonly broken: string[];
  /** What the page wants, in pixels. */
  readonly width: number;
  /** Text that lies over what is beside it: too long for its block, which does not scroll. */
  readonly over: string[];
}

const look = (page: Page): Promise<Look> =>
  page.evaluate(() => {
    const scrolls = (element: Element): boolean =>
      !element.matches('.vp-doc') &&
      (getComputedStyle(element).overflowX !== 'visible' ||
        (element.parentElement !== null && scrolls(element.parentElement)));
    const blocks = [...document.querySelectorAll('.vp-doc :is(h1, h2, h3, p, li, pre, table)')].filter(
      (element) => element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1,
    );
    return {
      headings: document.querySelectorAll('h1').length,
      broken: [...document.images].filter((image) => image.naturalWidth === 0).map((image) => image.src),
      width: document.documentElement.scrollWidth,
      over: blocks.filter((block) => !scrolls(block)).map((block) => block.textContent.slice(0, 60)),
    };
  });

describe('the site in Chromium', () => {
  it('shows every page whole, at a desk and on a telephone', async () => {
    expect(paths().length).toBeGreaterThan(30);
    for (const path of paths()) {
      for (const [where, viewport] of Object.entries({ desk: DESK, telephone: TELEPHONE })) {
        const { page, wrong } = await opened(`${origin}/${path}`, viewport);
        expect.soft(wrong, path).toEqual([]);
        expect.soft(await page.title(), path).toMatch(/NodeOS$/);
        expect
          .soft(await look(page), `${path} (${where})`)
          .toEqual({ headings: 1, broken: [], width: viewport.width, over: [] });
        await pictureOf(page, `${path.replace('.html', '').replaceAll('/', '-')}-${where}`);
        await page.close();
      }
    }
  });

  it('finds a word, and leads to it', async () => {
    const { page, wrong } = await opened(`${origin}/`);
    await page.locator('.VPNavBarSearchButton').click();
    await page.locator('#localsearch-input').fill('fusermount3');
    await page.locator('.result').first().waitFor();
    await pictureOf(page, 'search');
    await page.keyboard.press('Enter');
    await page.waitForURL(/store|CHANGELOG|decisions|fuse/);
    expect(wrong).toEqual([]);
  });
});

/** The lines of the recording that are in view, from the top, with the right edge of the longest. */
const linesInView = (page: Page): Promise<{ lines: string[]; right: number }> =>
  page.evaluate(() => {
    const shown = [...document.querySelectorAll('text')]
      .map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }))
      .filter(({ box }) => box.left >= 0 && box.left < document.documentElement.getBoundingClientRect().width);
    return { lines: shown.map(({ text }) => text), right: Math.max(...shown.map(({ box }) => box.right)) };
  });

describe('the recording in Chromium', () => {
  it('begins with two prompts, and shows a machine that answers curl', async () => {
    const { page, wrong } = await opened(RECORDING);
    const at = async (share: number): Promise<string> => {
      const width = await page.evaluate((share) => {
        const [reel] = document.getAnimations();
        if (!reel) throw new Error('nothing moves');
        reel.pause();
        reel.currentTime = Number(reel.effect?.getComputedTiming().duration) * share;
        return document.documentElement.getBoundingClientRect().width;
      }, share);
      const { lines, right } = await linesInView(page);
      expect(right).toBeLessThan(width);
      await page.locator('svg').screenshot({ path: join(PICTURES, `recording-${Math.round(share * 100)}.png`) });
      return lines.join('\n');
    };
    expect(await at(0)).toMatch(/^\$\n\$$/);
    expect(await at(0.5)).toContain('npx nodeos start examples/hello');
    const end = await at(0.999);
    for (const text of [
      'npx nodeos start examples/hello',
      'listening on port',
      'curl http://127.0.0.1:8080',
      'Hello from',
    ])
      expect(end).toContain(text);
    expect(wrong).toEqual([]);
  });

  it('stands still for those who want no motion', async () => {
    const page = await browser.newPage({ viewport: DESK, reducedMotion: 'reduce' });
    onTestFinished(() => page.close());
    await page.goto(RECORDING);
    expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
    expect((await linesInView(page)).lines.join('\n')).toContain('Hello from');
  });
});
