import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MetricsConfig } from '../config/types.ts';
import { PROMETHEUS_TYPE, prometheusText } from '../telemetry/prometheus.ts';
import { RingwayError } from '../util/errors.ts';
import type { ControlTarget } from './target.ts';

export interface MetricsServer {
  /** Where to look: `http://127.0.0.1:9464/metrics`. */
  readonly url: string;
  /** Ends all connections; resolves when they are closed. */
  close(): Promise<void>;
}

/**
 * Serves the metrics of `target` at `/metrics`, in Prometheus' text format.
 * @throws RingwayError `SYSTEM` when the address cannot be had.
 */
export async function startMetricsServer(
  target: Pick<ControlTarget, 'snapshot'>,
  listen: MetricsConfig,
): Promise<MetricsServer> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else if (request.url?.split('?')[0] !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('See /metrics.\n');
    } else {
      response.writeHead(200, { 'content-type': PROMETHEUS_TYPE }).end(prometheusText(target.snapshot()));
    }
  });
  server.maxConnections = 64;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(listen.port, listen.host, resolve);
    });
  } catch (cause) {
    const message = `metrics.listen: ${listen.host}:${listen.port} cannot be had: ${(cause as Error).message}`;
    throw new RingwayError('SYSTEM', message, { cause });
  }
  const { address, family, port } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
