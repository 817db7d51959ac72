// Evaluates what is posted to it, in one lasting context. Whoever reaches it can do anything that this program can:
// only for a machine of your own.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { createContext, runInContext } from 'node:vm';

const context = createContext({ console, process, require: createRequire(import.meta.url) });

const server = createServer(async (request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  if (request.method !== 'POST') return response.end("Post code: curl --data '1 + 1' http://127.0.0.1:8080\n");
  try {
    const result = await runInContext(await text(request), context, { filename: 'posted.js', timeout: 10_000 });
    response.end(`${inspect(result)}\n`);
  } catch (error) {
    response.statusCode = 400;
    response.end(`${inspect(error)}\n`);
  }
});

server.listen(process.env.PORT, () => console.log(`REPL over HTTP on port ${process.env.PORT}`));
