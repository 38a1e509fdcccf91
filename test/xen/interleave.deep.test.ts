// The tests of the fast suite, with full counts.
import './interleave.test.ts';
