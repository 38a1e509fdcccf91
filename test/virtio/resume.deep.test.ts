// The tests of the fast suite, with full counts.
import './resume.test.ts';
