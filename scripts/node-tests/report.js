// What Node.js's own tests say of two binaries, side by side.

/** @typedef {import('./run.js').Outcome} Outcome */
/** @typedef {'node' | 'against'} Side */
/** @typedef {Record<Side, Outcome>} Pair */
/** @typedef {{ test: string } & Pair & { again?: Pair[] }} Result again: the runs after a first one that differed */

/** @type {Side[]} */
export const SIDES = ['node', 'against'];

const KINDS = { pass: 'passed', skip: 'skipped', fail: 'failed', timeout: 'timed out', crash: 'crashed' };
/** As many tests as are named, of each sort. */
const NAMED = 60;

/** @param {Pair} pair */
export const differs = ({ node, against }) => node.kind !== against.kind;

/**
 * A test whose outcomes were different once is steady if no outcome of the one binary was among those of the other when
 * both ran it again.
 * @param {Result} result
 * @returns {'same' | 'differs' | 'unsteady'}
 */
export function verdictOf(result) {
  if (!differs(result)) return 'same';
  const again = result.again ?? [result];
  const seen = new Set(again.map(({ against }) => against.kind));
  return again.some(({ node }) => seen.has(node.kind)) ? 'unsteady' : 'differs';
}

/** @param {Result[]} results */
export function summaryOf(results) {
  /** @param {'same' | 'differs' | 'unsteady'} verdict */
  const named = (verdict) => results.filter((result) => verdictOf(result) === verdict).map(({ test }) => test);
  const counts = Object.fromEntries(
    SIDES.map((side) => [
      side,
      Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, count(results, side, kind)])),
    ]),
  );
  return { tests: results.length, counts, differs: named('differs'), unsteady: named('unsteady') };
}

/** @param {Result[]} results @param {Side} side @param {string} kind */
const count = (results, side, kind) => results.filter((result) => result[side].kind === kind).length;

/** @param {Result[]} results */
export function report(results) {
  const { counts, ...found } = summaryOf(results);
  const head = ['', ...Object.values(KINDS)];
  const rows = SIDES.map((side) => [side, ...Object.values(counts[side] ?? {}).map(String)]);
  const other = results.filter((result) => !differs(result) && result.node.reason !== result.against.reason);
  return [
    ...section('answers differently', results, found.differs),
    ...section('not steady: the outcomes of both, run again, have something in common', results, found.unsteady),
    ...section(
      'the same outcome for another reason',
      results,
      other.map(({ test }) => test),
    ),
    ...table([head, ...rows]),
    `${results.length} tests: ${found.differs.length} differ, ${found.unsteady.length} are not steady`,
  ].join('\n');
}

/** @param {string} title @param {Result[]} results @param {string[]} tests */
function section(title, results, tests) {
  if (tests.length === 0) return [];
  const lines = results
    .filter(({ test }) => tests.includes(test))
    .slice(0, NAMED)
    .flatMap((result) => [
      `  ${result.test}`,
      ...SIDES.map((side) => `    ${side.padEnd(7)}  ${runsOf(result, side)}`),
    ]);
  const more = tests.length > NAMED ? [`  and ${tests.length - NAMED} more`] : [];
  return [`${title}:`, ...lines, ...more, ''];
}

/** All runs of a test, as `fail, pass, pass`, and why it failed first. @param {Result} result @param {Side} side */
function runsOf(result, side) {
  const runs = [result, ...(result.again ?? [])].map((pair) => pair[side]);
  const reason = runs.find((run) => run.reason !== '')?.reason;
  return runs.map(({ kind }) => kind).join(', ') + (reason ? ` (${reason})` : '');
}

/** @param {string[][]} rows */
function table(rows) {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  );
}
