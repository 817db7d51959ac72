// Compares the results of Node.js's own tests for two binaries.

/** @typedef {import('./run.js').Outcome} Outcome */
/** @typedef {'node' | 'against'} Side */
/** @typedef {Record<Side, Outcome>} Pair */
/** @typedef {{ test: string } & Pair & { again?: Pair[] }} Result again: further runs after the first one differed */

/** @type {Side[]} */
export const SIDES = ['node', 'against'];

const KINDS = { pass: 'passed', skip: 'skipped', fail: 'failed', timeout: 'timed out', crash: 'crashed' };
/** The maximum number of tests that a section names. */
const MAX_NAMED = 60;

/** @param {Pair} pair */
export const differs = ({ node, against }) => node.kind !== against.kind;

/**
 * Whether a test differs. A difference is steady if, in the further runs, the two binaries had no outcome in common.
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
    ...section('different outcome', results, found.differs),
    ...section('not steady: in further runs, the binaries have an outcome in common', results, found.unsteady),
    ...section(
      'same outcome, different reason',
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
    .slice(0, MAX_NAMED)
    .flatMap((result) => [
      `  ${result.test}`,
      ...SIDES.map((side) => `    ${side.padEnd(7)}  ${runsOf(result, side)}`),
    ]);
  const more = tests.length > MAX_NAMED ? [`  and ${tests.length - MAX_NAMED} more`] : [];
  return [`${title}:`, ...lines, ...more, ''];
}

/** The outcomes of all runs, as `fail, pass, pass`, and the first reason. @param {Result} result @param {Side} side */
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
