// nodeos start examples/workspace/packages/server: what it needs of the workspace comes along.
import { createServer } from 'node:http';
import { greeting } from '@example/greeting';

createServer((request, response) => response.end(`${greeting('workspace')}\n`)).listen(process.env.PORT);
