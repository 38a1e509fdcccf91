// The tests of the fast suite, with full counts.
import './hostile.test.ts';
