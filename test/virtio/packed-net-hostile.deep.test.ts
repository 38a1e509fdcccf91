// The tests of the fast suite, with full counts.
import './packed-net-hostile.test.ts';
