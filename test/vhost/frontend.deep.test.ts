// The tests of the fast suite, and one that takes seconds.
import './frontend.test.ts';
