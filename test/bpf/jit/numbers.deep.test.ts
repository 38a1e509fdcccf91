// The tests of the fast suite, with full counts.
import './numbers.test.ts';
