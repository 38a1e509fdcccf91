// The tests of the fast suite, with full counts.
import './inflight.test.ts';
