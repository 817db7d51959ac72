/** Draws pictures of terminals as one SVG that moves by CSS: a reel of pictures, which jumps from one to the next. */

const LINE = 18;
const LETTER = 8.4;
const MARGIN = 14;
const GAP = 12;

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/**
 * @param {{ time: number, screens: string[][] }[]} frames the lines of each terminal, with the time in seconds
 * @param {{ columns: number, seconds: number }} options seconds: the time of the whole
 * @returns {string} an SVG; whoever wants no motion sees the last picture
 */
export function animated(frames, { columns, seconds }) {
  const width = Math.ceil(columns * LETTER) + 2 * MARGIN;
  const heights = frames[0].screens.map((lines) => lines.length * LINE + 2 * MARGIN);
  const tops = heights.map((_, index) => heights.slice(0, index).reduce((sum, height) => sum + height + GAP, 0));
  const height = tops.at(-1) + heights.at(-1);
  const stops = frames.map(
    ({ time }, index) => `${((time / seconds) * 100).toFixed(3)}% { transform: translateX(${-index * width}px) }`,
  );
  const last = -(frames.length - 1) * width;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>A terminal: npx nodeos start examples/hello boots a machine; curl gets its answer</title>
<style>
text { font: 14px/${LINE}px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #d6deeb; white-space: pre }
.terminal { fill: #10151c }
@keyframes reel { ${stops.join(' ')} 100% { transform: translateX(${last}px) } }
.reel { animation: reel ${seconds.toFixed(2)}s steps(1, end) infinite }
@media (prefers-reduced-motion: reduce) { .reel { animation: none; transform: translateX(${last}px) } }
</style>
${tops.map((top, index) => `<rect class="terminal" y="${top}" width="${width}" height="${heights[index]}" rx="8"/>`).join('\n')}
<g class="reel">
${frames.map(({ screens }, index) => picture(screens, index * width, tops)).join('\n')}
</g>
</svg>
`;
}

/** The lines of one picture that are not empty. Its place is right of the picture before. */
function picture(screens, left, tops) {
  const lines = screens.flatMap((screen, terminal) =>
    screen.map((text, row) => ({ text, y: (tops[terminal] ?? 0) + MARGIN + LINE * row + 13 })),
  );
  const shown = lines.filter(({ text }) => text !== '');
  return shown
    .map(({ text, y }) => `<text x="${left + MARGIN}" y="${y}" xml:space="preserve">${escaped(text)}</text>`)
    .join('\n');
}
