// The tests of the fast suite, with all cases.
import './xen-async.test.ts';
