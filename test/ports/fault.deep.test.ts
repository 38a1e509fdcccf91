// The tests of the fast suite, with full counts.
import './fault.test.ts';
