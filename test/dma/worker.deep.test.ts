// The tests of the fast suite, with full counts.
import './worker.test.ts';
