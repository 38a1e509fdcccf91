// The tests of the fast suite, with full counts.
import './analyse.test.ts';
