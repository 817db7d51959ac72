import { createServer } from 'node:http';
import { answer } from './app.ts';

const port: string = process.env['PORT'] ?? '3000';
const server = createServer(answer).listen(port, () => console.log(`listening on port ${port}`));

process.on('SIGTERM', () => server.close(() => process.exit()));
