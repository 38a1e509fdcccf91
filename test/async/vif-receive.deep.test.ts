// The tests of the fast suite, with full counts.
import './vif-receive.test.ts';
