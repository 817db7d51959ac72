// Counts primes in C++ (src/primes.cc), and remembers the answers in SQLite (better-sqlite3).
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import Database from 'better-sqlite3';

const primes = createRequire(import.meta.url)('./build/Release/primes.node');
const database = new Database('/tmp/primes.db');
database.exec('CREATE TABLE IF NOT EXISTS answers (upTo INTEGER PRIMARY KEY, count INTEGER NOT NULL)');
const known = database.prepare('SELECT count FROM answers WHERE upTo = ?').pluck();
const remember = database.prepare('INSERT OR REPLACE INTO answers VALUES (?, ?)');

createServer(async (request, response) => {
  const upTo = Number(new URL(request.url, 'http://localhost').searchParams.get('upTo') ?? 1000);
  const before = known.get(upTo);
  try {
    const count = before ?? (await primes.count(upTo));
    remember.run(upTo, count);
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ upTo, primes: count, remembered: before !== undefined }));
  } catch (error) {
    response.statusCode = 400;
    response.end(`${error.message}\n`);
  }
}).listen(Number(process.env.PORT ?? 3000));
