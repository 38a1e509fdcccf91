// The tests of the fast suite, with full counts.
import './guests.test.ts';
