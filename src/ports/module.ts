import { RingwayError } from '../util/errors.ts';
import type { Port, PortContext, PortType } from './port.ts';

/** What a port module exports by default: how to attach, and optionally what kind of source it is. */
export interface PortModule {
  /** Makes the port in the thread of the lcore that serves it. `options` is what the configuration says. */
  attach(context: PortContext, options: Readonly<Record<string, unknown>>): Port | Promise<Port>;
}

interface ModuleConfig {
  readonly name: string;
  /** URL of the module. */
  readonly module: string;
  readonly options: Readonly<Record<string, unknown>>;
}

interface ModuleData {
  readonly name: string;
  readonly url: string;
  readonly options: Readonly<Record<string, unknown>>;
}

const PORT_METHODS = ['rxBurst', 'txBurst', 'info', 'close'] as const;

/** A port that the user's own ES module makes. */
export const modulePort: PortType<ModuleConfig> = {
  bytes: () => 0,
  create: (_setup, { name, module, options }) => ({
    data: { name, url: module, options } satisfies ModuleData,
    rxQueues: 1,
    pausable: false,
    finite: false,
  }),
  async attach(context, data) {
    const { name, url, options } = data as ModuleData;
    let loaded: { default?: Partial<PortModule> };
    try {
      loaded = await import(url);
    } catch (cause) {
      throw new RingwayError('BAD_CONFIG', `ports.${name}.module: ${url} cannot be imported: ${cause}`, { cause });
    }
    const attach = loaded.default?.attach;
    if (typeof attach !== 'function') {
      throw new RingwayError(
        'BAD_CONFIG',
        `ports.${name}.module: ${url} must export by default an object with attach(context, options)`,
      );
    }
    let port: Port;
    try {
      port = await attach(context, options);
    } catch (cause) {
      if (cause instanceof RingwayError) throw cause;
      throw new RingwayError('SYSTEM', `ports.${name}.module: attach of ${url} failed: ${cause}`, { cause });
    }
    const missing = PORT_METHODS.filter((method) => typeof port?.[method] !== 'function');
    if (missing.length > 0) {
      throw new RingwayError(
        'BAD_CONFIG',
        `ports.${name}.module: attach of ${url} made a port without ${missing.join(', ')}`,
      );
    }
    return port;
  },
};
