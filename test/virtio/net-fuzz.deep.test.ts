// The tests of the fast suite, with full counts.
import './net-fuzz.test.ts';
