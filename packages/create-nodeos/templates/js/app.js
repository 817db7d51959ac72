import { hostname, release, uptime } from 'node:os';

/** Answers one request. @type {import('node:http').RequestListener} */
export function answer(request, response) {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(
    `Hello from ${hostname()}: Node.js ${process.version} on Linux ${release()}, up ${uptime().toFixed(1)} s\n`,
  );
}
