import Fastify from 'fastify';

const app = Fastify({ logger: true });

app.get(
  '/',
  {
    schema: {
      querystring: { type: 'object', properties: { name: { type: 'string', default: 'world', maxLength: 100 } } },
      response: { 200: { type: 'object', properties: { hello: { type: 'string' }, node: { type: 'string' } } } },
    },
  },
  async (request) => ({ hello: request.query.name, node: process.version }),
);

process.on('SIGTERM', () => app.close());

await app.listen({ host: '::', port: Number(process.env.PORT ?? 3000) });
