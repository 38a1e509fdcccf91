// The tests of the fast suite, with full counts.
import './eventdev.test.ts';
