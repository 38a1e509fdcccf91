import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { sysAvailable } from '#build/sys/index.js';
import { start } from '../support/dataplanes.ts';

test.skipIf(!sysAvailable() || existsSync('/dev/xen/gntdev'))(
  'a backend for a domain of the system says what is missing where there is no Xen',
  async () => {
    const ports = { net0: { type: 'xen-netback', xen: 'system' } };
    await expect(start({ version: 1, name: 'xen', ports })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(
        /^port net0: there is no \/dev\/xen\/gntdev; in domain 0 of a Xen, or in a driver domain, load the modules xen-gntdev and xen-evtchn/,
      ),
    });
  },
);
