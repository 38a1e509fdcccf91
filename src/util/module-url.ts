/**
 * The address of a module that a thread or a process is started with: `folder/file.js` of the build. Modules are bundled,
 * but for these: the build finds the calls of this function. Bundles lie in a folder beside the others, as this file does.
 */
export function moduleUrl(path: string): URL {
  return new URL(`../${path}`, import.meta.url);
}
