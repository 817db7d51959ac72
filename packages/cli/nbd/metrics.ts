/** Serves a server's counters over HTTP, for Prometheus. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, NodeosError, UsageError } from '@nodeos/base';

export interface MetricsServer {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Starts the HTTP server.
 * @param address `[HOST:]PORT`; the default host is 127.0.0.1
 * @throws UsageError if `address` is malformed; NodeosError if the address cannot be listened on
 */
export async function serveMetrics(address: string, text: () => string): Promise<MetricsServer> {
  const [, hostText = '127.0.0.1', port = ''] = /^(?:(.+):)?(\d+)$/.exec(address) ?? [];
  if (port === '' || Number(port) > 65535) throw new UsageError(`--metrics ${address}: expected [HOST:]PORT`);
  const host = hostText.replace(/^\[|\]$/g, '');
  const server = createServer((request, response) => {
    const isMetricsPath = request.url?.split('?', 1)[0] === '/metrics';
    response.writeHead(isMetricsPath ? 200 : 404, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
    response.end(isMetricsPath ? text() : 'they are at /metrics\n');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(Number(port), host, resolve);
  }).catch((error: unknown) => {
    throw new NodeosError(`--metrics ${address}: ${messageOf(error)}`, { cause: error });
  });
  const { port: actual } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${actual}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
