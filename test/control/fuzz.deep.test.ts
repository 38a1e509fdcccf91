// The tests of the fast suite, with full counts.
import './fuzz.test.ts';
