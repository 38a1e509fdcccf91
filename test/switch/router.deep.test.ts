// The tests of the fast suite, with full counts.
import './router.test.ts';
