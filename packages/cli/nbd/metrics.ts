/** Small HTTP servers beside a server: its counters, for Prometheus. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, NodeosError, UsageError } from '@nodeos/base';

export interface HttpServer {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves a server's counters. @throws the errors of `listenHttp` */
export async function serveMetrics(address: string, text: () => string): Promise<HttpServer> {
  const server = await listenHttp('--metrics', address, (request, response) => {
    const isMetricsPath = request.url?.split('?', 1)[0] === '/metrics';
    response.writeHead(isMetricsPath ? 200 : 404, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
    response.end(isMetricsPath ? text() : 'they are at /metrics\n');
  });
  return { ...server, url: `${server.url}/metrics` };
}

/**
 * Starts an HTTP server.
 * @param option in messages
 * @param address `[HOST:]PORT`; the default host is 127.0.0.1
 * @throws UsageError if `address` is malformed; NodeosError if the address cannot be listened on
 */
export async function listenHttp(option: string, address: string, listener: RequestListener): Promise<HttpServer> {
  const [, hostText = '127.0.0.1', port = ''] = /^(?:(.+):)?(\d+)$/.exec(address) ?? [];
  if (port === '' || Number(port) > 65535) throw new UsageError(`${option} ${address}: expected [HOST:]PORT`);
  const host = hostText.replace(/^\[|\]$/g, '');
  const server = createServer(listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(Number(port), host, resolve);
  }).catch((error: unknown) => {
    throw new NodeosError(`${option} ${address}: ${messageOf(error)}`, { cause: error });
  });
  const { port: actual } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${actual}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
