import { createServer } from 'node:http';
import { hostname, release, uptime } from 'node:os';

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(
    `Hello from ${hostname()}: Node.js ${process.version} on Linux ${release()}, up ${uptime().toFixed(1)} s\n`,
  );
});

server.listen(process.env.PORT, () => console.log(`listening on port ${process.env.PORT}`));

process.on('SIGTERM', () => {
  server.close(() => {
    console.log('closed, good bye');
    process.exit(0);
  });
});
