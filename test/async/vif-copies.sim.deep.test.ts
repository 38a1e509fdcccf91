// The tests of the fast suite, with full counts.
import './vif-copies.sim.test.ts';
