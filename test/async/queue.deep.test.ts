// The tests of the fast suite, with full counts.
import './queue.test.ts';
