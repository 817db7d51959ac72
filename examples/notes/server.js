// Keeps notes in a database in its home folder. With a disk for the users' data (--data FILE, or a disk or card), the home
// folder is on it, and the notes are there after a reboot.
import { createServer } from 'node:http';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';

const database = new DatabaseSync(join(homedir(), 'notes.db'));
database.exec('CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL)');
const insert = database.prepare('INSERT INTO notes VALUES (?)');
const all = database.prepare('SELECT text FROM notes ORDER BY rowid');

const server = createServer(async (request, response) => {
  if (request.method === 'POST') insert.run(await text(request));
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(all.all().map((row) => row.text)));
});
server.listen(process.env.PORT);

process.once('SIGTERM', () => {
  server.close(() => database.close());
  server.closeIdleConnections();
});
