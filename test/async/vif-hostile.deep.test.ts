// The tests of the fast suite, with full counts.
import './vif-hostile.test.ts';
