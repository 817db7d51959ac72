// Answers as fast as node:http can, and says how much memory that takes.
import { createServer } from 'node:http';
import { freemem, totalmem } from 'node:os';

createServer((request, response) => {
  if (request.url === '/memory') {
    const machine = totalmem() - freemem();
    response.end(JSON.stringify({ rss: process.memoryUsage().rss, machine }));
  } else {
    response.end('hello\n');
  }
}).listen(process.env.PORT);
