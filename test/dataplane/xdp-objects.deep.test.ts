// The tests of the fast suite, with full counts.
import './xdp-objects.test.ts';
