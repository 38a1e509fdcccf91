// The tests of the fast suite, with full counts.
import './net-bounce.test.ts';
