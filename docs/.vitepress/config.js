/** The site of the documentation: npm run docs. https://vitepress.dev/reference/site-config */
import { defineConfig } from 'vitepress';
import { siteLink } from './links.js';

const pages = (...rows) => rows.map(([text, link]) => ({ text, link }));

const GUIDES = pages(
  ['A first appliance', '/guides/first-appliance'],
  ['An application with native code', '/guides/native-code'],
  ['A root over the network', '/guides/root-over-the-network'],
  ['An image for a device', '/guides/image-for-a-device'],
  ['Debugging', '/guides/debugging'],
  ['Continuous integration', '/guides/ci'],
);
const REFERENCE = pages(
  ['Commands and options', '/reference/cli'],
  ['The command line as a whole', '/cli'],
  ['The configuration file', '/config'],
  ['npm packages', '/npm'],
  ['Applications', '/app'],
  ['Formats and boot media', '/media'],
  ['Libraries', '/reference/libraries'],
  ['API of the libraries', '/reference/api/'],
  ['NBD', '/nbd'],
  ['Block devices', '/block'],
  ['Filesystems', '/fs'],
  ['Files of other filesystems', '/linuxfs'],
  ['Trees', '/tree'],
  ['Container images', '/oci'],
  ['Containers as machines', '/containers'],
  ['Images as chunks', '/store'],
);
const EXPLANATION = pages(
  ['Architecture', '/architecture'],
  ['Decisions', '/decisions'],
  ['Benchmarks', '/benchmarks'],
  ['Engine', '/engine'],
  ['Toolchain', '/toolchain'],
  ['Kernel', '/kernel'],
  ['Runtime', '/runtime'],
  ['PID 1 and the init', '/init'],
  ['Initramfs', '/initramfs'],
  ['Streamed roots', '/stream'],
  ['Machines', '/vm'],
  ['Pins', '/pins'],
);
const PROJECT = pages(['Contributing', '/reference/CONTRIBUTING'], ['Changes', '/reference/CHANGELOG']);

/** Links that lead out of docs/ go to the copies that the site has. */
function linksOfTheSite(markdown) {
  markdown.core.ruler.push('links-of-the-site', ({ tokens, env }) => {
    const from = `docs/${env.relativePath}`;
    for (const link of tokens.flatMap(({ children }) => children ?? []).filter(({ type }) => type === 'link_open')) {
      const href = link.attrGet('href') ?? '';
      if (href.startsWith('..')) link.attrSet('href', siteLink(from, href));
    }
  });
}

/** Indented blocks look like those with fences. VitePress itself gives them no frame, and long lines leave the page. */
function framesOfIndentedBlocks(markdown) {
  markdown.core.ruler.push('frames-of-indented-blocks', ({ tokens }) => {
    for (const token of tokens.filter(({ type }) => type === 'code_block'))
      Object.assign(token, { type: 'fence', info: '', markup: '```' });
  });
}

export default defineConfig({
  title: 'NodeOS',
  description: 'Operating-system images that boot straight into Node.js',
  lang: 'en',
  head: [['link', { rel: 'icon', href: '/icon.svg' }]],
  markdown: {
    config(markdown) {
      linksOfTheSite(markdown);
      framesOfIndentedBlocks(markdown);
    },
  },
  // The index of the search is one file.
  vite: { build: { chunkSizeWarningLimit: 8192 } },
  themeConfig: {
    nav: [
      { text: 'Guides', link: '/guides/first-appliance' },
      { text: 'Reference', link: '/reference/cli' },
      { text: 'Explanation', link: '/architecture' },
    ],
    sidebar: [
      { text: 'Guides', items: GUIDES },
      { text: 'Reference', items: REFERENCE },
      { text: 'Explanation', items: EXPLANATION },
      { text: 'Project', items: PROJECT },
    ],
    outline: [2, 3],
    search: { provider: 'local' },
  },
});
