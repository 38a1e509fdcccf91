// The tests of the fast suite, with full counts.
import './packed-net-hostile.test.ts';
import { test } from 'vitest';
import { compileTraced } from '../support/kernels.ts';
import { searchFault } from './support/packed-hostile.ts';

test('what finds planted faults finds nothing in the kernels as they are', async () => {
  searchFault(await compileTraced({ folders: ['virtio', 'memory'] }));
});
