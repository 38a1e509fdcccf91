// The tests of the fast suite, with full counts.
import './flow.test.ts';
