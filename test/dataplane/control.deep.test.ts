// The tests of the fast suite, with full counts.
import './control.test.ts';
