// The tests of the fast suite, with full counts.
import './log.test.ts';
