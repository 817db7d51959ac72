/** A drawing of what imports what: who imports is above what it imports. Arrows that follow from others are left out. */

const [BOX_WIDTH, BOX_HEIGHT, GAP, RISE, MARGIN] = [92, 28, 22, 78, 20];

/** @param imports for each package those that it imports: a Map of Sets without circles */
export function draw(imports) {
  const rows = rowsOf(imports);
  const width = Math.max(...rows.map((row) => row.length * (BOX_WIDTH + GAP))) + 2 * MARGIN;
  const height = rows.length * RISE + MARGIN;
  const places = new Map();
  rows.forEach((row, rank) => {
    const left = (width - row.length * (BOX_WIDTH + GAP) + GAP) / 2;
    row.forEach((name, at) =>
      places.set(name, { x: left + at * (BOX_WIDTH + GAP), y: height - MARGIN - BOX_HEIGHT - rank * RISE }),
    );
  });
  const arrows = [...imports].flatMap(([from, all]) => needed(imports, all).map((to) => arrow(places, from, to)));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...arrows,
    ...[...places].map(([name, { x, y }]) => box(name, x, y)),
    '</svg>',
    '',
  ].join('\n');
}

/** Packages by rank: those that import nothing first, each above all that it imports; sorted by those below them. */
function rowsOf(imports) {
  const ranks = new Map();
  const rankOf = (name) => {
    if (!ranks.has(name)) ranks.set(name, Math.max(-1, ...[...(imports.get(name) ?? [])].map(rankOf)) + 1);
    return ranks.get(name);
  };
  const rows = [];
  for (const name of [...imports.keys()].sort()) (rows[rankOf(name)] ??= []).push(name);
  const at = new Map();
  for (const row of rows) {
    const centre = (name) => {
      const below = [...imports.get(name)].map((one) => at.get(one) ?? 0.5);
      return below.length === 0 ? 0.5 : below.reduce((sum, one) => sum + one) / below.length;
    };
    row.sort((a, b) => centre(a) - centre(b) || (a < b ? -1 : 1));
    row.forEach((name, index) => at.set(name, (index + 0.5) / row.length));
  }
  return rows;
}

/** Those of the packages that no other one of them imports, directly or not. */
function needed(imports, all) {
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
