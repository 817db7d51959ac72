/** Greets by the configuration: a variable, a file and the name of the machine. */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { hostname } from 'node:os';

interface Greeting {
  readonly greeting: string;
  readonly hostname: string;
  readonly file: string;
}

const greeting: Greeting = {
  greeting: process.env.GREETING ?? 'none',
  hostname: hostname(),
  file: readFileSync('/etc/greeting', 'utf8').trim(),
};

function answer(_request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(greeting));
}

createServer(answer).listen(Number(process.env.PORT ?? 80));
