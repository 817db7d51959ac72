/** Draws which package imports which. A package is above all that it imports. Arrows that others imply are omitted. */

const [BOX_WIDTH, BOX_HEIGHT, GAP, RISE, MARGIN] = [108, 28, 14, 78, 20];

/** @param imports the imported packages of each package: a Map of Sets, without cycles */
export function draw(imports) {
  const rows = rowsOf(imports);
  const width = Math.max(...rows.map((row) => row.length * (BOX_WIDTH + GAP))) + 2 * MARGIN;
  const height = rows.length * RISE + MARGIN;
  const places = new Map();
  rows.forEach((row, rank) => {
    const left = (width - row.length * (BOX_WIDTH + GAP) + GAP) / 2;
    row.forEach((name, column) =>
      places.set(name, { x: left + column * (BOX_WIDTH + GAP), y: height - MARGIN - BOX_HEIGHT - rank * RISE }),
    );
  });
  const arrows = [...imports].flatMap(([from, all]) => directOnly(imports, all).map((to) => arrow(places, from, to)));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...arrows,
    ...[...places].map(([name, { x, y }]) => box(name, x, y)),
    '</svg>',
    '',
  ].join('\n');
}

/**
 * The packages by rank. The first row imports nothing, and each package is above all that it imports. A row is sorted
 * by the positions of the imported packages, so that few arrows cross.
 */
function rowsOf(imports) {
  const ranks = new Map();
  const rankOf = (name) => {
    if (!ranks.has(name)) ranks.set(name, Math.max(-1, ...[...(imports.get(name) ?? [])].map(rankOf)) + 1);
    return ranks.get(name);
  };
  const rows = [];
  for (const name of [...imports.keys()].sort()) (rows[rankOf(name)] ??= []).push(name);
  const positions = new Map();
  for (const row of rows) {
    const centre = (name) => {
      const below = [...imports.get(name)].map((one) => positions.get(one) ?? 0.5);
      return below.length === 0 ? 0.5 : below.reduce((sum, one) => sum + one) / below.length;
    };
    row.sort((a, b) => centre(a) - centre(b) || (a < b ? -1 : 1));
    row.forEach((name, index) => positions.set(name, (index + 0.5) / row.length));
  }
  return rows;
}

/** The packages of `all` that no other package of `all` imports, directly or indirectly. */
function directOnly(imports, all) {
  const reached = new Set();
  const visit = (name) => {
    for (const one of imports.get(name) ?? []) if (!reached.has(one)) visit((reached.add(one), one));
  };
  for (const one of all) visit(one);
  return [...all].filter((one) => !reached.has(one)).sort();
}

function arrow(places, from, to) {
  const [a, b] = [places.get(from), places.get(to)];
  const [x1, y1, x2, y2] = [a.x + BOX_WIDTH / 2, a.y + BOX_HEIGHT, b.x + BOX_WIDTH / 2, b.y];
  const bend = (y1 + y2) / 2;
  return `<path d="M${x1} ${y1} C${x1} ${bend} ${x2} ${bend} ${x2} ${y2}" fill="none" stroke="#8a94a6"/>`;
}

const box = (name, x, y) =>
  `<g><rect x="${x}" y="${y}" width="${BOX_WIDTH}" height="${BOX_HEIGHT}" rx="5" fill="#eef3fb" stroke="#44597a"/>` +
  `<text x="${x + BOX_WIDTH / 2}" y="${y + 19}" text-anchor="middle" fill="#1c2733">${name}</text></g>`;
