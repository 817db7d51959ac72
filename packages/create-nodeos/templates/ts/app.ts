import type { RequestListener } from 'node:http';
import { hostname, release, uptime } from 'node:os';

/** Answers one request. */
export const answer: RequestListener = (_request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(
    `Hello from ${hostname()}: Node.js ${process.version} on Linux ${release()}, up ${uptime().toFixed(1)} s\n`,
  );
};
