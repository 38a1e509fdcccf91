import { basename, extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { normaliseEventdev } from './eventdev.ts';
import { type Path, type Problems, show } from './problems.ts';
import type { ParsedConfig } from './schema.ts';
import type { ParsedAsync } from './schema-async.ts';
import type { ParsedPort } from './schema-port.ts';
import { locate, type Tree } from './source.ts';
import type { AsyncConfig, CapturePortConfig, Config, DiskConfig, PortConfig } from './types.ts';

/** The name of a dataplane whose configuration gives none: the file's, without what a name cannot have. */
function nameOf(file: string): string {
  const base = basename(file, extname(file)).replaceAll(/[^A-Za-z0-9_-]+/g, '-');
  return base.replace(/^[^A-Za-z]+/, '').slice(0, 32) || 'ringway';
}

function moduleUrl(module: string, directory: string): string {
  // Two letters at least: C:\ports.js is no URL.
  return /^[a-z][a-z0-9+.-]+:/i.test(module) ? module : pathToFileURL(resolve(directory, module)).href;
}

function captureFormat(port: { format?: CapturePortConfig['format']; write?: string }): CapturePortConfig['format'] {
  return port.format ?? (extname(port.write ?? '').toLowerCase() === '.pcapng' ? 'pcapng' : 'pcap');
}

/**
 * A port that the schema accepted, with its name and absolute paths.
 * @param directoryOf where a relative path starts, by its place in the port.
 */
export function normalisePort(name: string, port: ParsedPort, directoryOf: (place: Path) => string): PortConfig {
  const absolute = (key: string, path: string | undefined, place: Path = [key]): Record<string, string> =>
    path === undefined ? {} : { [key]: resolve(directoryOf(place), path) };
  const common = {
    ...absolute('tap', port.tap),
    ...(port.xdp === undefined
      ? {}
      : { xdp: { ...port.xdp, ...absolute('object', port.xdp.object, ['xdp', 'object']) } }),
  };
  if (port.type === 'capture') {
    const files = { ...absolute('path', port.path), ...absolute('write', port.write) };
    return { name, ...port, ...common, ...files, format: captureFormat(port) };
  }
  if (port.type === 'module')
    return { name, ...port, ...common, module: moduleUrl(port.module, directoryOf(['module'])) };
  if (port.type === 'vhost-user' || port.type === 'virtio-user') {
    return { name, ...port, ...common, socket: resolve(directoryOf(['socket']), port.socket) };
  }
  return { name, ...port, ...common };
}

/** Refuses a file that two ports write, or that one writes while another reads it. */
function checkFiles(ports: readonly PortConfig[], tree: Tree, problems: Problems): void {
  const uses = ports.flatMap((port) => {
    const { path, write } = port.type === 'capture' ? port : {};
    const keyed = { path, write, tap: port.tap };
    return Object.entries(keyed).flatMap(([key, file]) => (file === undefined ? [] : [{ port: port.name, key, file }]));
  });
  const writers = uses.filter(({ key }) => key !== 'path');
  for (const [index, { port, key, file }] of writers.entries()) {
    const other = [...uses.filter((use) => use.key === 'path'), ...writers.slice(0, index)].find(
      (use) => use.file === file,
    );
    if (other === undefined) continue;
    const path: Path = ['ports', port, key];
    const what = other.key === 'path' ? 'replays' : 'writes';
    problems.add(
      locate(tree.origin, path).at,
      path,
      `${show(file)} is what ports.${other.port}.${other.key} ${what}; give each its own file`,
    );
  }
}

/** The kernel runs programs at the interfaces of af-xdp ports, and nowhere else. */
function checkAttach(ports: readonly PortConfig[], tree: Tree, problems: Problems): void {
  for (const { name, type, xdp } of ports) {
    if (xdp?.attach !== 'kernel' || type === 'af-xdp') continue;
    const path: Path = ['ports', name, 'xdp', 'attach'];
    problems.add(
      locate(tree.origin, path).at,
      path,
      `kernel is for af-xdp ports, and ${name} is a ${type} port; use ringway`,
    );
  }
}

function normaliseAsync(given: ParsedAsync, lcores: number, engineUrl: (module: string) => string): AsyncConfig {
  const { engine, engines = lcores, ...rest } = given;
  const kind: AsyncConfig['engine'] =
    typeof engine === 'string'
      ? { kind: engine }
      : { kind: 'module', url: engineUrl(engine.module), options: engine.options };
  return { ...rest, engine: kind, engines };
}

/** A configuration that the schema accepted, in the form that the dataplane takes. */
export function normaliseConfig(parsed: ParsedConfig, file: string, tree: Tree, problems: Problems): Config {
  const ports = Object.entries(parsed.ports).map(([name, port]) =>
    normalisePort(name, port, (place) => locate(tree.origin, ['ports', name, ...place]).directory),
  );
  checkFiles(ports, tree, problems);
  checkAttach(ports, tree, problems);
  const disks = Object.entries(parsed.disks).map(([name, { mode, ...disk }]): DiskConfig => {
    const absolute = (key: 'socket' | 'file'): string =>
      resolve(locate(tree.origin, ['disks', name, key]).directory, disk[key]);
    return { name, ...disk, socket: absolute('socket'), file: absolute('file'), server: mode === 'server' };
  });
  const { eventdev: given, async: asyncGiven, ...rest } = parsed;
  const engineUrl = (module: string): string =>
    moduleUrl(module, locate(tree.origin, ['async', 'engine', 'module']).directory);
  const config = {
    ...rest,
    name: parsed.name ?? nameOf(file),
    ports,
    disks,
    ...(asyncGiven === undefined ? {} : { async: normaliseAsync(asyncGiven, parsed.lcores.length, engineUrl) }),
  };
  if (given === undefined) return config;
  const stageUrl = (stage: number, module: string): string =>
    moduleUrl(module, locate(tree.origin, ['eventdev', 'stages', stage, 'module']).directory);
  return { ...config, eventdev: normaliseEventdev(parsed, given, stageUrl, tree, problems) };
}
